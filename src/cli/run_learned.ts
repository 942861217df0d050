// What `capi bench learned` does and prints.

import { existsSync } from 'node:fs';
import { writeWhole } from '../base/files/write.js';
import { shown } from '../base/text.js';
import { openEngine } from '../engine/select.js';
import { UsageError } from '../errors.js';
import { encodePng, paintLabels, type RawImage } from '../images/index.js';
import { type LearnedPicture, type LearnedResult, whatItLearned } from '../probes/learned.js';
import { percent, rangeText } from '../report/formats/words.js';

export interface LearnedFlags {
  run: string;
  data?: string;
  train: number;
  test: number;
  weights: string;
  threads?: number;
  /** Writes image, labels, trained and untrained prediction of some test images side by side. */
  picture?: string;
  force: boolean;
  quiet: boolean;
}

export async function runLearned(flags: LearnedFlags): Promise<object> {
  if (flags.picture && !flags.force && existsSync(flags.picture)) {
    throw new UsageError(`${flags.picture} exists: choose another --picture, or --force to replace it`);
  }
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: flags.threads ?? null });
  const result = await whatItLearned({
    engine,
    run: flags.run,
    weights: flags.weights as 'ema' | 'student',
    ...(flags.data ? { source: flags.data } : {}),
    trainImages: flags.train,
    testImages: flags.test,
    pictures: flags.picture ? 8 : 0,
    onMessage: (text) => {
      if (!flags.quiet) process.stderr.write(`${shown(text)}\n`);
    },
  });
  const { pictures, ...numbers } = result;
  if (flags.picture) await writeWhole(flags.picture, await encodePng(pictureSheet(pictures)));
  if (!flags.quiet) {
    process.stdout.write(learnedText(result));
    if (flags.picture) {
      process.stdout.write(`picture    ${flags.picture} (image, labels, trained, untrained)\n`);
    }
  }
  return { ...numbers, ...(flags.picture ? { picture: flags.picture } : {}) };
}

/** One row a picture: image, labels, prediction of the trained and of the untrained encoder, enlarged to 128 px. */
function pictureSheet(pictures: LearnedPicture[]): RawImage {
  const [tile, gap] = [128, 4];
  const width = 4 * (tile + gap) + gap;
  const height = pictures.length * (tile + gap) + gap;
  const data = new Uint8Array(width * height * 3).fill(255);
  for (const [row, p] of pictures.entries()) {
    const cells = [p.image, paintLabels(p.truth), paintLabels(p.trained), paintLabels(p.untrained)];
    for (const [column, cell] of cells.entries()) {
      for (let y = 0; y < tile; y++) {
        for (let x = 0; x < tile; x++) {
          const from =
            Math.floor((y * cell.height) / tile) * cell.width + Math.floor((x * cell.width) / tile);
          const to = (gap + row * (tile + gap) + y) * width + gap + column * (tile + gap) + x;
          data.set(cell.data.subarray(3 * from, 3 * from + 3), 3 * to);
        }
      }
    }
  }
  return { data, width, height };
}

/** The result in four lines. */
export function learnedText(r: LearnedResult): string {
  const { difference, ratio } = r.comparison;
  const times = (x: number): string => (Number.isFinite(x) ? x.toFixed(2) : '-');
  return (
    `mIoU of logistic regression on patch features, ${r.testImages} test images (${r.source})\n` +
    `  trained    ${percent(r.trained.miou)} %   pixel accuracy ${percent(r.trained.accuracy)} %\n` +
    `  untrained  ${percent(r.untrained.miou)} %   pixel accuracy ${percent(r.untrained.accuracy)} %\n` +
    `  difference ${percent(difference.value)} points, 95 % interval ${rangeText(difference.low, difference.high)}; ratio ${times(ratio.value)} [${times(ratio.low)}, ${times(ratio.high)}]\n`
  );
}
