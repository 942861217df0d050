// The work of `capi data show`: survey a source, print it, write its contact sheet.

import { existsSync } from 'node:fs';
import { writeWhole } from '../base/files/write.js';
import { shown } from '../base/text.js';
import { UsageError } from '../errors.js';
import {
  channelStats,
  contactSheet,
  encodePng,
  type ImageSource,
  labelCounts,
  labelsOf,
  openSource,
  type Sample,
  sampleSource,
} from '../images/index.js';
import { columns } from './table.js';

export interface ShowOptions {
  split?: 'train' | 'test';
  /** Images on the sheet. */
  count: number;
  /** The PNG file; default `data-KIND-SPLIT.png` in the current folder. */
  out?: string;
  /** Whether an existing file may be overwritten. */
  force: boolean;
  log(line: string): void;
}

const STATISTICS_IMAGES = 1000;

/** Surveys the source that `uri` names. Throws UsageError when the file exists and `force` is not set, before any work. */
export async function showSource(uri: string, options: ShowOptions): Promise<Survey> {
  const source = await openSource(uri, { split: options.split });
  const out = options.out ?? `data-${source.uri.split(':')[0]}-${source.split}.png`;
  if (existsSync(out) && !options.force) {
    throw new UsageError(`${out} exists: name another file with --out, or overwrite it with --force`);
  }
  const samples = await sampleSource(source, options.count);
  const counts = labelCounts(source);
  const { mean, std, images } = await channelStats(source, STATISTICS_IMAGES);
  await writeWhole(out, await encodePng(contactSheet(samples, source.ignoreLabels)));
  const unreadable = samples
    .filter(({ problem }) => problem)
    .map(({ index, problem }) => ({ name: source.name(index), problem }));
  const result: Survey = {
    source: source.uri,
    identity: await source.identity(),
    split: source.split,
    images: source.length,
    sizes: sizesOf(source, samples),
    classes: source.classes?.map((name, i) => ({ name, images: counts?.[i] })),
    labels: countLabels(source),
    label_map_classes: source.labelMapClasses,
    ignored_labels: source.ignoreLabels,
    channels: { mean, std, images },
    left_out: source.leftOut?.map(({ what, count, examples }) => ({ what, count, examples })) ?? [],
    remarks: [...(source.remarks ?? []), ...(source.unlabelled === undefined ? [] : [source.unlabelled])],
    unreadable,
    contact_sheet: out,
  };
  print(result, samples.length, options.log);
  return result;
}

function countLabels(source: ImageSource): { several: number; none: number } | undefined {
  if (!source.classes) return undefined;
  const counts = Array.from({ length: source.length }, (_, i) => labelsOf(source, i).length);
  return {
    several: counts.filter((count) => count > 1).length,
    none: counts.filter((count) => count === 0).length,
  };
}

/** Extent of the images' sizes: that of all where they are one, else of the sampled ones. */
function sizesOf(source: ImageSource, samples: Sample[]) {
  const sizes = source.nativeSize ? [source.nativeSize] : samples.flatMap(({ image }) => image ?? []);
  const extent = (values: number[]): [number, number] | null =>
    values.length > 0 ? [Math.min(...values), Math.max(...values)] : null;
  return {
    height: extent(sizes.map(({ height }) => height)),
    width: extent(sizes.map(({ width }) => width)),
  };
}

/** What `capi data show --json` prints. */
export interface Survey {
  source: string;
  identity: string;
  split: string;
  images: number;
  sizes: ReturnType<typeof sizesOf>;
  classes?: { name: string; images?: number }[];
  /** Images with several labels and with none, where there are labels. */
  labels?: { several: number; none: number };
  label_map_classes?: string[];
  ignored_labels?: number[];
  channels: { mean: number[]; std: number[]; images: number };
  /** What lies in the source's folders and is not read. */
  left_out: { what: string; count: number; examples: string[] }[];
  /** What is odd about it, and why it has no labels, a sentence each. */
  remarks: string[];
  unreadable: { name: string; problem?: string }[];
  contact_sheet: string;
}

function print(result: Survey, sampled: number, log: (line: string) => void): void {
  const range = (extent: [number, number] | null): string =>
    extent === null ? '?' : extent[0] === extent[1] ? `${extent[0]}` : `${extent[0]}-${extent[1]}`;
  const three = (values: number[]): string => values.map((value) => value.toFixed(3)).join(' ');
  const { sizes, channels, classes, unreadable } = result;
  log(shown(result.source));
  log(`split        ${result.split}`);
  log(`images       ${result.images}`);
  log(`height       ${range(sizes.height)}`);
  log(`width        ${range(sizes.width)}`);
  log(`mean         ${three(channels.mean)}  (of ${channels.images} images)`);
  log(`std          ${three(channels.std)}`);
  if (result.label_map_classes) {
    const ignored = result.ignored_labels?.length ? `, not scored: ${result.ignored_labels.join(', ')}` : '';
    log(`label map    ${result.label_map_classes.length} classes${ignored}`);
  }
  const { several, none } = result.labels ?? { several: 0, none: 0 };
  if (several + none > 0) log(`labels       ${several} images have several, ${none} none`);
  log(`classes      ${classes ? classes.length : 'none'}`);
  if (classes) {
    const rows = classes.map(({ name, images }, i) => [
      `${i}`,
      shown(name),
      images === undefined ? '' : `${images}`,
    ]);
    log(columns([['label', 'class', 'images'], ...rows.slice(0, 50)]));
    if (rows.length > 50) log(`… and ${rows.length - 50} more (--json has them all)`);
  }
  for (const { what, count, examples } of result.left_out) {
    log(
      `left out     ${count} ${what}: ${examples.map(shown).join(', ')}${count > examples.length ? ', …' : ''}`,
    );
  }
  for (const remark of result.remarks) log(`note         ${shown(remark)}`);
  for (const { problem } of unreadable) log(`unreadable   ${shown(problem ?? '')}`);
  log(`${sampled} images on ${result.contact_sheet}`);
}
