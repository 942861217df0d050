// Errors of predicted depth, image by image, over the pixels that count.

/** Names of the errors of an image, as results have them. */
export const METRICS = ['rmse', 'abs_rel', 'delta1', 'delta2', 'delta3'] as const;
export type DepthMetric = (typeof METRICS)[number];
export const CROPS = ['none', 'eigen'] as const;

/** The smaller the better; of the others, the larger. */
export const isError = (metric: DepthMetric): boolean => metric === 'rmse' || metric === 'abs_rel';

/** NYU's frames, and the box of Eigen et al. (NIPS 2014) in them, as the evaluation code of BTS and AdaBins has it. */
const NYU = { height: 480, width: 640, top: 45, bottom: 471, left: 41, right: 601 };

/** For every pixel of a map row by row, 1 where it lies in the crop (by its middle, in maps of another size than NYU's). */
export function cropMask(
  crop: (typeof CROPS)[number],
  { height, width }: { height: number; width: number },
): Uint8Array {
  const inside = (at: number, size: number, whole: number, low: number, high: number): boolean => {
    const middle = ((at + 0.5) * whole) / size;
    return middle > low && middle < high;
  };
  return Uint8Array.from({ length: height * width }, (_, pixel) => {
    if (crop === 'none') return 1;
    const [y, x] = [Math.floor(pixel / width), pixel % width];
    const { top, bottom, left, right } = NYU;
    return Number(inside(y, height, NYU.height, top, bottom) && inside(x, width, NYU.width, left, right));
  });
}

/** Whether a depth in metres was measured and is not too far to count. */
export const isCounted = (depth: number, most: number): boolean => depth > 0 && depth <= most;

/** Errors of an image, and how many of its pixels they are over. */
export type ImageErrors = Readonly<Record<DepthMetric, number>> & { readonly pixels: number };

/**
 * Errors of the `predicted` depth (metres, above 0) of an image over the pixels of `mask` whose true depth counts: RMSE in metres; AbsRel, the mean of
 * |predicted - true| / true; delta k, the share of pixels with max(predicted / true, true / predicted) < 1.25^k (Eigen et al., NIPS 2014). NaN over no pixels.
 */
export function imageErrors(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  mask: Uint8Array,
  most: number,
): ImageErrors {
  let [pixels, squares, relative, one, two, three] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < truth.length; i++) {
    const t = truth[i]!;
    if (mask[i] === 0 || !isCounted(t, most)) continue;
    const p = predicted[i]!;
    const ratio = Math.max(p / t, t / p);
    pixels++;
    squares += (p - t) ** 2;
    relative += Math.abs(p - t) / t;
    if (ratio < 1.25) one++;
    if (ratio < 1.25 ** 2) two++;
    if (ratio < 1.25 ** 3) three++;
  }
  return {
    pixels,
    rmse: Math.sqrt(squares / pixels),
    abs_rel: relative / pixels,
    delta1: one / pixels,
    delta2: two / pixels,
    delta3: three / pixels,
  };
}

/** Errors of many images: those without a pixel that counts are left out. */
export class ErrorTable {
  /** Places of the images that are in it, in the order in which they were added. */
  readonly samples: number[] = [];
  readonly values: Record<DepthMetric, number[]> = {
    rmse: [],
    abs_rel: [],
    delta1: [],
    delta2: [],
    delta3: [],
  };

  add(image: number, errors: ImageErrors): void {
    if (errors.pixels === 0) return;
    this.samples.push(image);
    for (const metric of METRICS) this.values[metric].push(errors[metric]);
  }

  /** Mean over images, NaN over none: as the evaluation code of BTS, AdaBins and DINOv2 averages, not over all pixels at once. */
  mean(metric: DepthMetric): number {
    const { length } = this.samples;
    return this.values[metric].reduce((sum, x) => sum + x, 0) / length;
  }
}
