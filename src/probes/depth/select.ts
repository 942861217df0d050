// A linear depth head: trains every grid point on the same batches, selects on the validation images, predicts the depth of pixels.
import type { Engine } from '../../engine/program.js';
import { DataError, DivergedError, InterruptedError } from '../../errors.js';
import type { RowSource } from '../../features/rows.js';
import { type LinearPoint, type LinearProtocol, linearGrid } from '../linear/protocol.js';
import { initialStack, pointOf, predictionState } from '../linear/stack.js';
import { askStack, gatherImages, trainStack } from '../linear/train.js';
import { type PatchGrid, patchOrder } from '../linear/upsample.js';
import type { EvaluationState } from '../state.js';
import {
  type DepthForm,
  type DepthSizes,
  depthPiece,
  depthPredictionProgram,
  depthStepProgram,
} from './head.js';
import { type DepthMetric, ErrorTable, imageErrors, isCounted, isError, METRICS } from './metrics.js';

/** Images of one call of a prediction program at most. */
const PREDICTION_IMAGES = 16;

/** Images of one set as an encoder sees them; patches of an image row by row, images one after another. */
export interface DepthSet {
  readonly images: number;
  /** [images * patches, width] */
  readonly features: RowSource;
  /** [images * patches, patch * patch]: metres, 0 where nothing was measured. */
  readonly depths: RowSource;
}

export interface DepthRequest {
  readonly engine: Engine;
  readonly train: DepthSet;
  readonly split: { readonly train: Int32Array; readonly validation: Int32Array };
  readonly grid: PatchGrid;
  /** The greatest depth that counts, in metres, and the pixels that scores count, row by row. */
  readonly most: number;
  readonly mask: Uint8Array;
  /** The score that selects. */
  readonly metric: DepthMetric;
  readonly seed: number;
  readonly state?: EvaluationState | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What is being done and the share of it that is done, in [0, 1]. */
  readonly onProgress?: ((text: string, share: number) => void) | undefined;
}

/** One head at the end of the training, with its errors on the validation images; NaN where its loss is not finite. */
export type TrainedDepth = LinearPoint & { readonly lastLoss: number } & Record<DepthMetric, number>;

/** The head whose setting is chosen, kept as it was trained. */
export interface SelectedDepth {
  readonly head: DepthForm['head'];
  readonly grid: readonly TrainedDepth[];
  /** The best on the validation images; of equal ones the first in the grid. */
  readonly selected: LinearPoint;
  /** `weight` [D, K], `bias` [K], `running_mean` and `running_var` [D]. */
  readonly model: Readonly<Record<string, Float32Array>>;
  /** Metres of the pixels of each image of a set, row by row, in order; good until the next. */
  predict(set: DepthSet): AsyncIterable<Float32Array>;
}

/**
 * Depth of frozen features as DINOv2 reports it for a linear layer on the last block: batch norm without affine part, one linear layer a patch, the depth
 * of patches upsampled bilinearly to the maps, AdamW (see trainStack for batches and resuming). Differs from DINOv2's in that patches are seen without the
 * class token, features are normalised and not augmented, and no gradient-matching loss is added to the SigLoss. `bias` is where regression starts.
 * @throws DataError when no pixel of the validation images counts, DivergedError when every head diverged, InterruptedError when `signal` stops it (after saving)
 */
export async function selectDepth(
  request: DepthRequest,
  form: DepthForm,
  options: { training: LinearProtocol; outputs: number; warmup: number; bias: number },
): Promise<SelectedDepth> {
  const { engine, train, split, grid, metric, onProgress } = request;
  const points = linearGrid(options.training);
  const width = train.features.width;
  const sizes: DepthSizes = { ...grid, width, outputs: options.outputs, points: points.length };
  const tensors = await trainDepth(request, form, options, sizes);
  const losses = tensors.losses!;
  if (losses.every((loss) => !Number.isFinite(loss))) {
    throw new DivergedError(`every depth head (${form.head}) diverged: lower the learning rates`);
  }
  const heads = Object.fromEntries(predictionState.map((name) => [name, tensors[name]!]));
  const tables = points.map(() => new ErrorTable());
  const truths = truthOf(train, split.validation, grid);
  let image = 0;
  for await (const said of predictions(engine, train, split.validation, sizes, form, heads)) {
    stopIfAsked(request);
    const truth = (await truths.next()).value as Float32Array;
    for (const [g, table] of tables.entries())
      table.add(image, imageErrors(truth, said[g]!, request.mask, request.most));
    onProgress?.(`${form.head}: selection`, ++image / split.validation.length);
  }
  if (tables[0]!.samples.length === 0)
    throw new DataError('no pixel of the validation images has a depth that counts');
  const scored = points.map((point, g): TrainedDepth => {
    const mean = (name: DepthMetric) => (Number.isFinite(losses[g]!) ? tables[g]!.mean(name) : Number.NaN);
    const means = Object.fromEntries(METRICS.map((name) => [name, mean(name)])) as Record<
      DepthMetric,
      number
    >;
    return { ...point, lastLoss: losses[g]!, ...means };
  });
  const order = scored.map((_, g) => g).filter((g) => Number.isFinite(scored[g]![metric]));
  const sign = isError(metric) ? 1 : -1;
  const [best] = order.sort((a, b) => sign * (scored[a]![metric] - scored[b]![metric]) || a - b);
  if (best === undefined)
    throw new DivergedError(`every depth head (${form.head}) diverged: lower the learning rates`);
  const model = pointOf(heads, best, sizes);
  return {
    head: form.head,
    grid: scored,
    selected: points[best]!,
    model,
    async *predict(set) {
      const all = Int32Array.from({ length: set.images }, (_, i) => i);
      for await (const [metres] of predictions(engine, set, all, { ...sizes, points: 1 }, form, model))
        yield metres!;
    },
  };
}

/** Trains all heads, or goes on with a saved training. */
function trainDepth(
  request: DepthRequest,
  form: DepthForm,
  options: { training: LinearProtocol; warmup: number; bias: number },
  sizes: DepthSizes,
) {
  const { engine, train, split, seed, state, signal, onProgress, most } = request;
  const { batch, init_std: std } = options.training;
  const patches = sizes.rows * sizes.columns;
  let features: Float32Array | undefined; // of one batch after another
  let maps: Float32Array | undefined;
  const training = { engine, images: split.train, seed, state, signal, onProgress };
  return trainStack({ ...training, head: form.head, heads: `depth heads (${form.head})` }, options.training, {
    program: (optimiser) => depthStepProgram(sizes, form, { batch, optimiser }),
    initial: () => initialStack(sizes, { name: `depth ${form.head}`, seed, std, bias: options.bias }),
    async inputs(chosen, step) {
      features = await gatherImages(train.features, chosen, patches, features);
      maps = await gatherImages(train.depths, chosen, patches, maps);
      const { spread, ...rest } = depthTargets(maps, sizes, most);
      if (form.head === 'regression') return { features, ...rest };
      return { features, ...rest, spread: Float32Array.of(step < options.warmup ? 0 : spread) };
    },
  });
}

/**
 * What a training step reads of depth maps [images, patches, patch * patch]: `depths` row by row, `weights` 1 / n of the n pixels that count and 0 of the
 * others, and n / (n - 1), 0 for fewer than two.
 */
export function depthTargets(maps: Float32Array, grid: PatchGrid, most: number) {
  const depths = rowsOf(maps, grid);
  const n = depths.reduce((sum, d) => sum + Number(isCounted(d, most)), 0);
  const weights = depths.map((d) => (isCounted(d, most) ? 1 / n : 0));
  return { depths, weights, spread: n > 1 ? n / (n - 1) : 0 };
}

/** Maps in patch order as maps row by row. */
function rowsOf(maps: Float32Array, grid: PatchGrid): Float32Array {
  const order = patchOrder(grid);
  const out = new Float32Array(maps.length);
  for (let first = 0; first < maps.length; first += order.length)
    for (let i = 0; i < order.length; i++) out[first + order[i]!] = maps[first + i]!;
  return out;
}

/** True depth of the pixels of some images of a set, row by row. */
export async function* truthOf(
  set: Pick<DepthSet, 'depths'>,
  images: Int32Array,
  grid: PatchGrid,
): AsyncGenerator<Float32Array> {
  for (const image of images)
    yield rowsOf(await gatherImages(set.depths, Int32Array.of(image), grid.rows * grid.columns), grid);
}

/** Throws InterruptedError when the request was told to stop. */
export function stopIfAsked({ signal }: Pick<DepthRequest, 'signal'>): void {
  if (signal?.aborted)
    throw new InterruptedError('the depth heads were stopped; the same request goes on with what is done');
}

/** What every head says of some images of a set, image by image: [points] of metres row by row. */
function predictions(
  engine: Engine,
  { features }: DepthSet,
  images: Int32Array,
  sizes: DepthSizes,
  form: DepthForm,
  heads: Readonly<Record<string, Float32Array>>,
): AsyncGenerator<Float32Array[]> {
  return askStack(engine, features, images, sizes.rows * sizes.columns, {
    most: Math.min(PREDICTION_IMAGES, depthPiece(sizes, form)),
    points: sizes.points,
    heads,
    program: (count) => depthPredictionProgram(sizes, form, count),
  }) as AsyncGenerator<Float32Array[]>;
}
