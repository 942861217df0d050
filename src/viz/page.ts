// The page of `capi eval viz`: encoders over one set of images, PNG files, one page, and a list of all that was written.

import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { holderText } from '../base/files/holder.js';
import { holdFolder } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { makeFolder, writeJson, writeText, writeWhole } from '../base/files/write.js';
import { ordinal } from '../base/text.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import { openFrozen } from '../encoder/open_frozen.js';
import { parseEncoderSpec } from '../encoder/spec.js';
import { type EngineRequest, openEngine } from '../engine/select.js';
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

export interface VizOptions {
  readonly engine: EngineRequest;
  readonly encoders: readonly string[];
  readonly data: string;
  readonly split?: 'train' | 'test' | undefined;
  /** Side in pixels; by default each encoder's own. */
  readonly resolution?: number | undefined;
  readonly heatmaps: boolean;
  readonly signs: boolean;
  readonly limit: number;
  readonly out: string;
  readonly weights: 'ema' | 'student';
  readonly force: boolean;
  readonly onStage?: (encoder: string, stage: string, done: number, total: number) => void;
}

/** What was drawn, as the list beside the page has it. */
export interface VizResult {
  readonly page: string;
  readonly settings: Record<string, unknown>;
  readonly encoders: readonly PageEncoder[];
  readonly files: readonly string[];
  readonly environment: object;
}

/** Images of one call of an encoder. */
const BATCH = 8;

/** The list of what a page consists of; --force removes what the list of the page before names. */
const LIST = 'viz.json';
const PAGE = 'index.html';
const LOCK = 'viz.lock';

/** Draws everything. @throws UsageError when the folder is in use, before any work */
export async function drawPage(o: VizOptions): Promise<VizResult> {
  await checkFolder(o.out, o.force);
  await checkWritable(o.out);
  const lock = await holdFolder(o.out, LOCK, 'capi eval viz');
  if ('holder' in lock) {
    throw new UsageError(
      `${o.out} is in use by ${holderText(lock.holder)}: wait until it ends, or choose another folder with --out`,
    );
  }
  try {
    return await draw(o);
  } finally {
    await lock.release();
  }
}

async function draw(o: VizOptions): Promise<VizResult> {
  const engine = await openEngine(o.engine);
  const written = new Set<string>();
  const write = async (file: string, picture: RawImage): Promise<void> => {
    if (written.has(file)) return; // images that several encoders see at one size
    written.add(file);
    const path = join(o.out, file);
    await makeFolder(dirname(path));
    await writeWhole(path, await encodePng(picture));
  };
  const encoders: PageEncoder[] = [];
  const prefixes = folderNames(o.encoders);
  let seen: { source: ImageSource; indices: number[] } | undefined;
  for (const [i, spec] of o.encoders.entries()) {
    const encoder = await openFrozen(spec, {
      engine,
      batch: BATCH,
      weights: o.weights,
      ...(o.resolution ? { size: { height: o.resolution, width: o.resolution } } : {}),
    });
    try {
      const source = await openSource(o.data, {
        ...(o.split ? { split: o.split } : {}),
        size: drawnSize(encoder.size.height),
      });
      const indices = everyNth(source.length, o.limit);
      const { prototypes, note } = await prototypesOf(encoder, o.weights);
      if (!seen) await emptyFolder(o.out);
      seen ??= { source, indices };
      const pictures = await drawEncoder({
        engine,
        encoder,
        source,
        indices,
        ...(prototypes ? { prototypes } : {}),
        heatmaps: o.heatmaps,
        signs: o.signs,
        prefix: prefixes[i]!,
        scratch: o.out,
        write,
        onProgress: (stage, done, total) => o.onStage?.(spec, stage, done, total),
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
    weights: o.weights,
    heatmaps: o.heatmaps,
    signs: o.signs,
  };
  const page = picturesPage({
    command: commandLine(process.argv.slice(2)),
    settings: [
      [
        'Images',
        `${indices.length} of ${source.length} (every ${settings.every === 1 ? 'one' : ordinal(settings.every)}), ${source.uri}`,
      ],
      ['Weights', o.weights === 'ema' ? 'EMA of the student' : 'student'],
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
  await writeText(join(o.out, PAGE), page);
  const result = {
    page: join(o.out, PAGE),
    settings,
    encoders,
    files: [PAGE, LIST, ...written],
    environment: made,
  };
  await writeJson(join(o.out, LIST), result);
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
