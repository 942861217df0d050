// The shape of the project, read from its imports: levels, no circles, one door for each heavy dependency, quick commands.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TASK_NAMES } from '../src/probes/tasks.js';
import {
  circles,
  functionsOf,
  type Import,
  importsOf,
  packageOf,
  root,
  sourceFiles,
  textOf,
} from './support/imports.js';

/** A file imports from its own folder and from lower levels only; folders of one level do not know each other. */
const levels = [
  ['cores', 'errors', 'shell', 'stops'],
  ['base'],
  ['tasks'],
  ['tensor', 'config'],
  ['checkpoint', 'engine', 'images', 'masks', 'model', 'optim', 'results'],
  ['teacher', 'encoder', 'features', 'scores'],
  ['solvers'],
  ['pretrain', 'probes'],
  ['ablate', 'bench', 'doctor', 'inspect', 'report'],
  ['verify', 'viz', 'reproduce'],
  ['cli'],
  ['commands'],
  ['main'],
];

/** Where a heavy package may be imported. A folder ends with a slash. */
const doors: [pattern: RegExp, places: string[]][] = [
  [/^sharp$/, ['src/images/decode/pixels.ts']],
  [/^fs-native-extensions$/, ['src/base/files/lock.ts']],
  [/^onnxruntime-/, ['src/engine/onnx/c_api.ts']],
  [/^koffi$/, ['src/engine/onnx/c_api.ts', 'src/stops.ts']],
  [/^@tensorflow\/tfjs-node/, ['src/engine/tensorflow.ts']],
  [/^@tensorflow\/(?!tfjs-node)/, ['src/tensor/tf.ts']],
  [/^@oclif\//, ['src/cli/', 'commands/', 'src/main.ts']],
];

/** The list of probe tasks: any level may read it, because it loads nothing until a task is asked for. */
const TASKS = 'src/probes/tasks.ts';

const files = sourceFiles('src', 'commands');
/** Every import of every file; a dynamic import in the list of tasks is the list's own. */
const imports = new Map<string, Import[]>(
  files.map((file) => [file, importsOf(file).filter(({ kind }) => file !== TASKS || kind !== 'dynamic')]),
);

/** `src/engine/graph/trace.ts` is of `engine`, `src/masks.ts` of `masks`, `commands/eval/cls.ts` of `commands`. */
function unitOf(file: string): string {
  // The list of probe tasks, and what each says of itself, are data that every level may read.
  if (/^src\/probes\/(tasks|(\w+\/)?about)\.ts$/.test(file)) return 'tasks';
  const [top, next] = file.split('/');
  return top === 'src' ? next!.replace(/\.ts$/, '') : top!;
}

function levelOf(file: string): number {
  return levels.findIndex((units) => units.includes(unitOf(file)));
}

/** One line for each import that breaks a rule. */
function offences(broken: (file: string, imported: Import) => string | undefined): string[] {
  return files.flatMap((file) =>
    imports.get(file)!.flatMap((imported) => {
      const why = broken(file, imported);
      return why === undefined ? [] : [`${file} imports ${imported.specifier}: ${why}`];
    }),
  );
}

describe('levels', () => {
  it('every file has one', () => {
    expect(files.filter((file) => levelOf(file) < 0)).toEqual([]);
  });

  it('imports go downward, or stay in their folder', () => {
    const wrong = offences((file, { file: target }) => {
      if (target === undefined || unitOf(target) === unitOf(file)) return undefined;
      if (!target.startsWith('src/') && !target.startsWith('commands/')) return 'outside src and commands';
      const [from, to] = [levelOf(file), levelOf(target)];
      return to < from ? undefined : `${unitOf(file)} is on level ${from}, ${unitOf(target)} on level ${to}`;
    });
    expect(wrong).toEqual([]);
  });

  it('relative imports name an existing file, with .js at the end', () => {
    const wrong = offences((_, { specifier, file }) =>
      file === undefined || (specifier.endsWith('.js') && existsSync(join(root, file)))
        ? undefined
        : 'no such file',
    );
    expect(wrong).toEqual([]);
  });

  it('report reads results and scores only', () => {
    const readable = ['report', 'results', 'scores', 'config', 'errors', 'base', 'shell', 'tasks'];
    const wrong = offences((file, { file: target }) =>
      unitOf(file) !== 'report' || target === undefined || readable.includes(unitOf(target))
        ? undefined
        : 'neither result nor score',
    );
    expect(wrong).toEqual([]);
  });

  it('the list of tasks loads nothing by itself', () => {
    const loaded = files.filter((file) => unitOf(file) === 'tasks').flatMap((file) => imports.get(file)!);
    expect(loaded.filter(({ specifier }) => !/\/about\.js$/.test(specifier))).toEqual([]);
  });

  it('no file asks for a probe task by name outside of its folder and the list', () => {
    // A depth is something else too: only where a task is spoken of.
    const named = (name: string, text: string): boolean =>
      new RegExp(name === 'depth' ? `task\\b.*'${name}'` : `'${name}'`).test(text);
    const wrong = files.filter((file) => {
      const others = TASK_NAMES.filter((name) => !file.startsWith(`src/probes/${name}/`));
      return file.startsWith('src/') && file !== TASKS && others.some((name) => named(name, textOf(file)));
    });
    expect(wrong).toEqual([]);
  });

  it('the graph, and what runs programs without onnxruntime, do not know it', () => {
    const neutral = /^src\/engine\/(graph\/|(program|eager|replay|reference|tensorflow)\.ts$)/;
    const wrong = offences((file, { file: target }) =>
      neutral.test(file) && target?.startsWith('src/engine/onnx/') ? 'of onnxruntime' : undefined,
    );
    expect(wrong).toEqual([]);
  });

  it('no circle, types and dynamic imports counted', () => {
    const edges = new Map(
      files.map((file) => [file, imports.get(file)!.flatMap(({ file: target }) => target ?? [])]),
    );
    expect(circles(edges)).toEqual([]);
  });
});

describe('packages', () => {
  it('each heavy one has one door', () => {
    const wrong = offences((file, { specifier }) => {
      const door = doors.find(([pattern]) => pattern.test(specifier));
      if (door === undefined) return undefined;
      const here = door[1].some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place));
      return here ? undefined : `only ${door[1].join(', ')} may`;
    });
    expect(wrong).toEqual([]);
  });

  it('the product imports only what package.json says a user has', () => {
    const manifest = JSON.parse(textOf('package.json'));
    const installed = [
      ...Object.keys(manifest.dependencies),
      ...Object.keys(manifest.optionalDependencies ?? {}),
    ];
    // The CPU build is put there by scripts/build-tfjs-node.sh; its door takes whichever of the two loads.
    installed.push('@tensorflow/tfjs-node');
    const wrong = offences((_, { specifier, file }) => {
      if (file !== undefined || specifier.startsWith('node:')) return undefined;
      return installed.includes(packageOf(specifier)) ? undefined : 'not among dependencies';
    });
    expect(wrong).toEqual([]);
  });

  it('commands load nothing but oclif and Node before they run', () => {
    const wrong: string[] = [];
    const seen = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const { specifier, file: target, kind } of imports.get(file) ?? []) {
        if (kind !== 'static') continue;
        if (target !== undefined) visit(target, [...path, target]);
        else if (!/^(node:|@oclif\/core)/.test(specifier)) wrong.push(`${path.join(' -> ')} -> ${specifier}`);
      }
    };
    for (const file of files)
      if (/^(commands\/|src\/main\.ts$|src\/cli\/not_found\.ts$)/.test(file)) visit(file, [file]);
    expect(wrong).toEqual([]);
  });
});

describe('writing', () => {
  /** Those that stream lines, and the images of a speed comparison, which nobody reads again. */
  const streams = ['src/features/chunks.ts', 'src/pretrain/metrics.ts', 'src/pretrain/run_folder.ts'];
  const others = ['src/bench/decode.ts', 'src/encoder/foreign_child.ts'];

  it('is done in src/base/files, whole, flushed and under a name of its own', () => {
    const writes =
      /\b(writeFile|appendFile|rename|copyFile|cp|truncate|link|symlink|createWriteStream)(Sync)?\b/;
    const wrong = files.filter((file) => {
      if (file.startsWith('src/base/files/') || streams.includes(file) || others.includes(file)) return false;
      const text = textOf(file);
      const imported = [...text.matchAll(/import \{([^}]*)\} from 'node:fs(?:\/promises)?'/g)];
      return (
        imported.some(([, names]) => writes.test(names!)) ||
        /\bopen(Sync)?\([^)]*, '(w|a|r\+|wx|ax)/.test(text)
      );
    });
    expect(wrong).toEqual([]);
  });
});

/** Lines from which a function is worth a second look. */
const LONG = 80;

describe('files', () => {
  const all = [...files, ...sourceFiles('test', 'benchmarks')];

  it('open with a comment that says what they are for', () => {
    const role = /^(#!.*\n)?\/\/ \S.{15,}/;
    expect(all.filter((file) => !role.test(textOf(file)))).toEqual([]);
  });

  it('are not called utils, helpers or misc', () => {
    expect(all.filter((file) => /(^|[/_-])(utils?|helpers?|misc|common)([/_.-]|$)/i.test(file))).toEqual([]);
  });

  it('have no long functions (a warning, not a failure)', () => {
    const long = files.flatMap((file) =>
      functionsOf(file)
        .filter(({ lines }) => lines > LONG)
        .map(({ name, line, lines }) => `  ${file}:${line} ${name}: ${lines} lines`),
    );
    if (long.length > 0) console.warn(`${long.length} functions above ${LONG} lines:\n${long.join('\n')}`);
  });
});
