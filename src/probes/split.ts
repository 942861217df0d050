// Which images a probe trains and selects on, and in what order.
import { stream } from '../base/random.js';
import { UsageError } from '../errors.js';

/**
 * The images that selection looks at and those that heads train on, both ascending: a permutation of all, of which the first
 * round((1 - share) n) train (official rule; the generator is ours, so that the images are others than NumPy's).
 * @throws UsageError when one of the parts is empty
 */
export function splitImages(
  images: number,
  share: number,
  seed: number,
): { train: Int32Array; validation: Int32Array } {
  const order = stream(seed, 'probe validation images', images).shuffle(
    Int32Array.from({ length: images }, (_, i) => i),
  );
  const kept = Math.round((1 - share) * images);
  if (kept === 0 || kept === images) {
    throw new UsageError(
      `${images} training images leave ${images - kept} of them for selection at a share of ${share}: give more images`,
    );
  }
  return { train: order.slice(0, kept).sort(), validation: order.slice(kept).sort() };
}

/**
 * The samples of any step: endless permutations of [0, count), one after another, cut into batches. The order depends on the seed alone.
 */
export function sampler(count: number, batch: number, seed: number): (step: number) => Int32Array {
  let known = { epoch: -1, order: new Int32Array(0) };
  const orderOf = (epoch: number): Int32Array => {
    if (known.epoch !== epoch) {
      const order = Int32Array.from({ length: count }, (_, i) => i);
      known = { epoch, order: stream(seed, 'probe batches', count, epoch).shuffle(order) };
    }
    return known.order;
  };
  return (step) => {
    const chosen = new Int32Array(batch);
    for (let i = 0; i < batch; i++) {
      const at = step * batch + i;
      chosen[i] = orderOf(Math.floor(at / count))[at % count]!;
    }
    return chosen;
  };
}
