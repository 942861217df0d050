// What a source of images holds: counts, classes, sizes, channel statistics, and a contact sheet.

import { existsSync } from 'node:fs';
import { writeWhole } from '../base/files/write.js';
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

export interface SurveyOptions {
  split?: 'train' | 'test';
  /** Images on the sheet. */
  count: number;
  /** The PNG file; default `data-KIND-SPLIT.png` in the current folder. */
  out?: string;
  /** Whether an existing file may be overwritten. */
  force: boolean;
}

const STATISTICS_IMAGES = 1000;

/** Surveys the source that `uri` names. Throws UsageError when the file exists and `force` is not set, before any work. */
export async function surveySource(uri: string, options: SurveyOptions): Promise<Survey> {
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
  return {
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
    on_sheet: samples.length,
  };
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

/** What a source holds, as far as its sampled images show. */
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
  /** Images on it. */
  on_sheet: number;
}
