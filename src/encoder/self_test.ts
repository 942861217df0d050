// Whether an encoder of anyone's agrees with itself: one image alone, again, and at two places of a batch of others.

import { stream } from '../base/random.js';
import { shown } from '../base/text.js';
import { DataError } from '../errors.js';
import type { FrozenFeatures } from './frozen.js';

/**
 * Most root mean square difference, as a share of how much the features differ between patches and images.
 * Kernels add up in another order for another batch: in float32 that leaves some 1e-6 to 1e-4 of a deep model's features, in 16 or 8 bits
 * (2^-8 a value of bfloat16, added up over the layers) some 1e-2. Dropout of a tenth changes them by 0.3, statistics of the batch by 0.05 to 1.
 */
const MOST = { full: 2e-3, reduced: 3e-2 } as const;

export interface SelfTest {
  readonly name: string;
  readonly size: { readonly height: number; readonly width: number };
  /** Computes in 16 or 8 bits somewhere. */
  readonly reduced: boolean;
  /** Nodes of its graph that act in training mode or draw at random, to name where it fails. */
  readonly suspects: readonly string[];
  /** Features of `n` images [n, H, W, 3]. */
  run(images: Uint8Array, n: number): Promise<FrozenFeatures>;
}

/**
 * Runs one image alone twice, then at the first and fourth place of a batch of five whose others have another brightness and contrast.
 * There it is opposite itself in no mirrored batch and shares no pair with itself, so that an encoder that mixes images in pairs is found as well.
 * Values that are not finite are let pass where all runs have them: the images of an evaluation are what they are judged by.
 * @returns what is odd about an encoder that agrees with itself
 * @throws DataError with the difference where the features of the image are not the same each time
 */
export async function testSelf(o: SelfTest): Promise<string[]> {
  const { height, width } = o.size;
  const bytes = height * width * 3;
  const image = picture(bytes, width, 0, 1);
  const [dark, bright] = [picture(bytes, width, 1, 0.1), picture(bytes, width, 2, 0.4)];
  const batch = new Uint8Array(5 * bytes);
  for (const [i, one] of [image, dark, bright, image, dark].entries()) batch.set(one, i * bytes);
  const alone = copied(await o.run(image, 1));
  const again = copied(await o.run(image, 1));
  const beside = copied(await o.run(batch, 5));
  const most = o.reduced ? MOST.reduced : MOST.full;
  const notes: string[] = [];
  for (const part of ['patches', 'global', 'registers'] as const) {
    const [one, two, five] = [alone[part], again[part], beside[part]];
    if (!one || !two || !five) continue;
    const per = one.length;
    const spread = spreadOf(five, per);
    const twice = difference(one, two) / spread;
    const places = Math.max(
      ...[0, 3].map((i) => difference(one, five.subarray(i * per, (i + 1) * per)) / spread),
    );
    if (twice <= most && places <= most) {
      if ([1, 2].every((i) => difference(one, five.subarray(i * per, (i + 1) * per)) === 0))
        notes.push(`its ${part} are the same for three images that are not alike: it may not read its image`);
      continue;
    }
    const how =
      twice > most
        ? `of one image given twice differ by ${share(twice)}`
        : `of one image differ by ${share(places)} between the image alone and the same image beside three others`;
    const why = o.suspects.length > 0 ? `; its graph has ${shown(o.suspects.join(', '))}` : '';
    throw new DataError(
      `encoder ${shown(o.name)} disagrees with itself: the ${part} ${how} (root mean square, of their spread; rounding stays below ${share(most)})${why}. Export it in evaluation mode: model.eval(), without dropout or statistics of the batch`,
      { encoder: o.name, part, twice, places, most },
    );
  }
  const training = o.suspects.filter((text) => /BatchNormalization/.test(text));
  if (training.length > 0)
    notes.push(
      `its graph has ${shown(training.join(', '))}: each image is normalised by its own statistics, not by those of training`,
    );
  return notes;
}

const share = (x: number): string =>
  Number.isFinite(x)
    ? `${x < 0.1 ? (100 * x).toPrecision(2) : (100 * x).toFixed(0)} %`
    : 'values that are not finite';

const copied = (f: FrozenFeatures): FrozenFeatures => ({
  patches: f.patches.slice(),
  ...(f.global ? { global: f.global.slice() } : {}),
  ...(f.registers ? { registers: f.registers.slice() } : {}),
});

/** Blocks of noise in slopes of grey: structure at several scales; `contrast` 0 to 1 around a brightness of its own. */
function picture(bytes: number, width: number, seed: number, contrast: number): Uint8Array {
  const noise = stream(seed, 'self test').fillUniform(new Float32Array(bytes), -1, 1);
  const centre = [128, 40, 200][seed]!;
  return Uint8Array.from(noise, (v, i) => {
    const pixel = Math.floor(i / 3);
    const slope = Math.sin((pixel % width) / 5 + seed) * Math.cos(pixel / width / 7);
    return Math.max(0, Math.min(255, centre + contrast * (60 * v + 60 * slope)));
  });
}

/** Root mean square difference; infinite where one value is finite and the other is not. */
function difference(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    if (Object.is(x, y)) continue;
    const d = x - y;
    if (!Number.isFinite(d)) return Number.POSITIVE_INFINITY;
    sum += d * d;
  }
  return Math.sqrt(sum / a.length);
}

/** Root mean square distance of the values from their mean over the images; at least a hundredth of their size. */
function spreadOf(values: Float32Array, per: number): number {
  const images = values.length / per;
  let [around, size] = [0, 0];
  for (let i = 0; i < per; i++) {
    let mean = 0;
    for (let b = 0; b < images; b++) mean += values[b * per + i]! / images;
    for (let b = 0; b < images; b++) {
      const value = values[b * per + i]!;
      if (!Number.isFinite(value) || !Number.isFinite(mean)) continue;
      around += (value - mean) ** 2;
      size += value ** 2;
    }
  }
  return Math.max(Math.sqrt(around / values.length), 1e-2 * Math.sqrt(size / values.length)) || 1;
}
