// What a batch holds: which images and which crops, decided by (seed, step, position) alone, and its pixels.

import { stream } from '../../base/random.js';
import { CapiError, DataError } from '../../errors.js';
import type { RawImage } from '../decode/resample.js';
import type { ImageSource } from '../source.js';
import { randomResizedCrop, type TransformOptions } from './transform.js';

/** What decides the content of batches. */
export interface DrawOptions extends TransformOptions {
  /** Images a batch. */
  batch: number;
  seed: number;
  /** Largest share of the source's images that may be unreadable. */
  maxBadShare: number;
}

/** An image that could not be read. */
export interface BadImage {
  index: number;
  reason: string;
}

/** A batch as drawn: pixels [batch, height, width, 3], indices of the source's images, and what was found unreadable on the way. */
export interface DrawnBatch {
  step: number;
  pixels: Uint8Array<ArrayBuffer>;
  indices: Int32Array<ArrayBuffer>;
  bad: BadImage[];
}

/** Images decoded side by side, for sources that wait for a file or a decoder. */
const IN_FLIGHT = 8;

/** How many unreadable images a run bears: the share of the source, but one at least where any are allowed, and never all. */
export function toleratedBad(length: number, maxBadShare: number): number {
  const share = maxBadShare > 0 ? Math.max(1, Math.floor(maxBadShare * length)) : 0;
  return Math.min(share, length - 1);
}

/**
 * Draws batches of a source. Each epoch is a permutation keyed by (seed, epoch), the last incomplete batch dropped; crop and flip are
 * keyed by (seed, step, position). An unreadable image is replaced by the next readable one of the permutation. So batch `step` is the
 * same whatever was drawn before, here or in another thread.
 */
export class Drawer {
  private readonly bad = new Set<number>();
  private epoch = -1;
  private order = new Int32Array(0);

  constructor(
    private readonly source: ImageSource,
    private readonly options: DrawOptions,
  ) {}

  /** Draws the batch of `step`. When more images are bad than tolerated, it ends early, incomplete: the bad ones say why. */
  async draw(step: number): Promise<DrawnBatch> {
    const { batch, height, width, seed } = this.options;
    const stepsPerEpoch = Math.floor(this.source.length / batch);
    const order = this.orderOf(Math.floor(step / stepsPerEpoch));
    const offset = (step % stepsPerEpoch) * batch;
    const area = height * width * 3;
    const pixels = new Uint8Array(batch * area);
    const indices = new Int32Array(batch);
    const bad: BadImage[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < batch) {
        const position = next++;
        const found = await this.readable(order, offset + position, bad);
        if (!found) return;
        const random = stream(seed, 'crop', step, position);
        pixels.set(randomResizedCrop(found.image, this.options, random).data, position * area);
        indices[position] = found.index;
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, work));
    bad.sort((a, b) => a.index - b.index);
    return { step, pixels, indices, bad };
  }

  /** The first readable image of the permutation from `slot` on; undefined once too many are bad. */
  private async readable(
    order: Int32Array,
    slot: number,
    bad: BadImage[],
  ): Promise<{ index: number; image: RawImage } | undefined> {
    const tolerated = toleratedBad(this.source.length, this.options.maxBadShare);
    for (let tries = 0; tries < order.length && this.bad.size <= tolerated; tries++) {
      const index = order[(slot + tries) % order.length]!;
      if (this.bad.has(index)) continue;
      try {
        return { index, image: await this.source.read(index) };
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        if (!this.bad.has(index)) bad.push({ index, reason: error.message });
        this.bad.add(index);
      }
    }
    return undefined;
  }

  private orderOf(epoch: number): Int32Array {
    if (epoch !== this.epoch) {
      const order = Int32Array.from({ length: this.source.length }, (_, i) => i);
      this.order = stream(this.options.seed, 'order', epoch).shuffle(order);
      this.epoch = epoch;
    }
    return this.order;
  }
}

/** Throws the error that says that too many images are bad, if they are. */
export function checkBad(source: ImageSource, bad: BadImage[], maxBadShare: number): void {
  if (bad.length <= toleratedBad(source.length, maxBadShare)) return;
  const examples = bad.slice(0, 3).map(({ reason }) => reason);
  const more = bad.length > 3 ? ', …' : '';
  throw new DataError(
    `${bad.length} of the ${source.length} images of ${source.uri} cannot be read, more than the allowed share of ${maxBadShare} (data.max_bad_share): ${examples.join(', ')}${more}`,
    { source: source.uri, bad: bad.length, images: bad.slice(0, 20).map(({ index }) => source.name(index)) },
  );
}

/** An error as it crosses from a thread, and back. */
export interface SentError {
  data: boolean;
  message: string;
  stack?: string;
}

export function packError(error: unknown): SentError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { data: error instanceof CapiError, message, stack };
}

export function unpackError({ data, message, stack }: SentError): Error {
  if (data) return new DataError(message);
  const error = new Error(message);
  error.stack = stack;
  return error;
}
