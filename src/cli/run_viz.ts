// What `capi eval viz` does: encoders over one set of images, PNG files, one page, and a list of all that was written.

import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { holderText } from '../base/files/holder.js';
import { holdFolder } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { makeFolder, writeJson, writeText, writeWhole } from '../base/files/write.js';
import { shown } from '../base/text.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import { openFrozen } from '../encoder/open_frozen.js';
import { parseEncoderSpec } from '../encoder/spec.js';
import { openEngine } from '../engine/select.js';
import { UsageError } from '../errors.js';
import { drawnSize, encodePng, type ImageSource, openSource, type RawImage } from '../images/index.js';
import { divergingColours } from '../probes/pictures/colours.js';
import { drawEncoder, everyNth } from '../probes/pictures/draw.js';
import { type PrototypeWeights, readPrototypes } from '../probes/pictures/prototypes.js';
import { rankNotes } from '../probes/pictures/rank.js';
import { SIGNS } from '../probes/pictures/tiles.js';
import { type PageEncoder, picturesPage } from '../report/html/pictures.js';
import { environment } from '../results/environment.js';
import { commandLine } from '../shell.js';
import { type EngineFlagValues, evaluationEngine } from './engine_flags.js';
import { duration, Progress } from './progress.js';

export interface VizFlags extends EngineFlagValues {
  encoders: string[];
  data: string;
  split?: 'train' | 'test';
  /** Side in pixels; by default each encoder's own. */
  resolution?: number;
  heatmaps: boolean;
  signs: boolean;
  limit: number;
  out: string;
  weights: 'ema' | 'student';
  force: boolean;
  quiet: boolean;
}

/** Images of one call of an encoder. */
const BATCH = 8;

/** The list of what a page consists of; --force removes what the list of the page before names. */
const LIST = 'viz.json';
const PAGE = 'index.html';
const LOCK = 'viz.lock';

/** Draws everything and returns what --json prints. @throws UsageError when the folder is in use, before any work */
export async function runViz(flags: VizFlags): Promise<object> {
  await checkFolder(flags.out, flags.force);
  await checkWritable(flags.out);
  const lock = await holdFolder(flags.out, LOCK, 'capi eval viz');
  if ('holder' in lock) {
    throw new UsageError(
      `${flags.out} is in use by ${holderText(lock.holder)}: wait until it ends, or choose another folder with --out`,
    );
  }
  try {
    return await drawPage(flags);
  } finally {
    await lock.release();
  }
}

async function drawPage(flags: VizFlags): Promise<object> {
  const engine = await openEngine(evaluationEngine(flags));
  const written = new Set<string>();
  const write = async (file: string, picture: RawImage): Promise<void> => {
    if (written.has(file)) return; // images that several encoders see at one size
    written.add(file);
    const path = join(flags.out, file);
    await makeFolder(dirname(path));
    await writeWhole(path, await encodePng(picture));
  };
  const encoders: PageEncoder[] = [];
  const prefixes = folderNames(flags.encoders);
  let seen: { source: ImageSource; indices: number[] } | undefined;
  for (const [i, spec] of flags.encoders.entries()) {
    const encoder = await openFrozen(spec, {
      engine,
      batch: BATCH,
      weights: flags.weights,
      ...(flags.resolution ? { size: { height: flags.resolution, width: flags.resolution } } : {}),
    });
    const watch = watchProgress(flags.quiet, spec);
    try {
      const source = await openSource(flags.data, {
        ...(flags.split ? { split: flags.split } : {}),
        size: drawnSize(encoder.size.height),
      });
      const indices = everyNth(source.length, flags.limit);
      const { prototypes, note } = await prototypesOf(encoder, flags.weights);
      if (!seen) await emptyFolder(flags.out);
      seen ??= { source, indices };
      const pictures = await drawEncoder({
        engine,
        encoder,
        source,
        indices,
        ...(prototypes ? { prototypes } : {}),
        heatmaps: flags.heatmaps,
        signs: flags.signs,
        prefix: prefixes[i]!,
        scratch: flags.out,
        write,
        onProgress: watch.report,
      });
      const { name, weightsHash, size, patch, grid } = encoder;
      encoders.push({
        label: spec,
        name,
        weightsHash,
        size,
        patch,
        grid,
        ...pictures,
        notes: [...(encoder.notes ?? []), ...(note ? [note] : []), ...rankNotes(pictures)],
      });
    } finally {
      watch.end();
      await encoder.close();
    }
  }
  const { source, indices } = seen!;
  const made = environment(engine);
  const settings = {
    data: source.uri,
    data_identity: await source.identity(),
    split: source.split,
    images: indices.length,
    every: indices.length > 1 ? indices[1]! - indices[0]! : 1,
    weights: flags.weights,
    heatmaps: flags.heatmaps,
    signs: flags.signs,
  };
  const page = picturesPage({
    command: commandLine(process.argv.slice(2)),
    settings: [
      ['Images', `${indices.length} of ${source.length} (every ${ordinal(settings.every)}), ${source.uri}`],
      ['Weights', flags.weights === 'ema' ? 'EMA of the student' : 'student'],
      [
        'Made by',
        `capi ${made.capi}${made.commit ? `, commit ${made.commit.slice(0, 12)}` : ''}, ${made.engine} ${made.engineVersion} on ${made.device}, Node ${made.node}`,
      ],
    ],
    encoders,
    signNames: SIGNS.map((signs) => signs.map((s) => (s > 0 ? '+' : '−')).join(' ')),
    scale: Array.from({ length: 17 }, (_, i) => {
      const at = 3 * Math.round((255 * i) / 16);
      return `rgb(${divergingColours.subarray(at, at + 3).join(' ')})`;
    }),
  });
  await writeText(join(flags.out, PAGE), page);
  const result = {
    page: join(flags.out, PAGE),
    settings,
    encoders,
    files: [PAGE, LIST, ...written],
    environment: made,
  };
  await writeJson(join(flags.out, LIST), result);
  if (!flags.quiet) {
    process.stdout.write(
      `${written.size} pictures of ${indices.length} images\npage       ${shown(result.page)}\n`,
    );
    for (const e of encoders) {
      for (const note of e.notes) process.stdout.write(`note       ${shown(`${e.label}: ${note}`)}\n`);
    }
  }
  return result;
}

/** Refuses a folder that holds anything, unless forced. @throws UsageError */
async function checkFolder(out: string, force: boolean): Promise<void> {
  if (!existsSync(out)) return;
  const names = await readdir(out).catch(() => undefined);
  if (!names) throw new UsageError(`${out} is no folder: choose another --out`);
  if (names.some((name) => name !== LOCK) && !force) {
    throw new UsageError(
      `${out} is not empty: choose another --out, or --force to replace the pictures in it`,
    );
  }
}

/** Makes the folder, and removes the files of an earlier page that its list names: nothing else. */
async function emptyFolder(out: string): Promise<void> {
  await makeFolder(out);
  for (const name of await readdir(out)) {
    if (name.startsWith('.features-')) await rm(join(out, name), { recursive: true, force: true });
  }
  const list = join(out, LIST);
  if (!existsSync(list)) return;
  const { files } = JSON.parse(await readFile(list, 'utf8').catch(() => '{}')) as { files?: unknown };
  for (const file of Array.isArray(files) ? files : []) {
    const inside = typeof file === 'string' && !isAbsolute(file) && !normalize(file).startsWith('..');
    if (inside) await rm(join(out, file), { force: true });
  }
}

/** A folder name for each encoder: the last part of its name, numbered where two are the same. */
export function folderNames(specs: readonly string[]): string[] {
  const names = specs.map((spec) => {
    const plain = basename(spec.replace(/\/+$/, '')).replace(/[^A-Za-z0-9._-]+/g, '-');
    return plain.replace(/^[.-]+|[.-]+$/g, '') || 'encoder';
  });
  return names.map((name, i) =>
    names.indexOf(name) === names.lastIndexOf(name) ? name : `${i + 1}-${name}`,
  );
}

/** The clustering layer of an encoder's checkpoint, or a line that says why there is none. */
async function prototypesOf(
  encoder: FrozenEncoder,
  weights: 'ema' | 'student',
): Promise<{ prototypes?: PrototypeWeights; note?: string }> {
  const { place, options } = parseEncoderSpec(encoder.name);
  const prototypes = encoder.kind === 'capi' ? await readPrototypes(place) : undefined;
  if (!prototypes)
    return { note: 'no prototype pictures, since only checkpoints of capi pretrain hold prototypes' };
  if ((options.get('weights') ?? weights) === 'student') {
    return {
      note: 'no prototype pictures, since the prototypes are fitted to the EMA features (--weights ema)',
    };
  }
  return { prototypes };
}

interface Stage {
  stage: 'features' | 'pictures';
  done: number;
  total: number;
  secondsLeft: number;
}

/** One line on a terminal, nothing elsewhere. */
function watchProgress(quiet: boolean, spec: string) {
  const started = { features: performance.now(), pictures: 0 };
  const shown = !quiet && process.stderr.isTTY;
  const progress = new Progress<Stage>(
    process.stderr,
    ({ stage, done, total, secondsLeft }) =>
      `${spec}: ${stage} ${done}/${total} ETA ${duration(secondsLeft)}`,
    (report) => report,
  );
  return {
    report: (stage: Stage['stage'], done: number, total: number): void => {
      started[stage] ||= performance.now();
      const each = (performance.now() - started[stage]) / 1000 / done;
      if (shown) progress.report({ stage, done, total, secondsLeft: each * (total - done) }, done === total);
    },
    end: (): void => progress.end(),
  };
}

function ordinal(n: number): string {
  if (n === 1) return 'one';
  const ends = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${ends}`;
}
