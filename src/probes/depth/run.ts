// Depth on one frozen encoder: patch features and depth maps from the store, every head selected before any test set is opened, and the two bounds.
import { DataError } from '../../errors.js';
import { type EvaluationData, openPatches } from '../dataset.js';
import { addGrid, addScores, type Entries, type Head, noEntries } from '../entries.js';
import type { PatchGrid } from '../linear/upsample.js';
import type { ProbeRequest } from '../task.js';
import type { DepthForm } from './head.js';
import { cropMask, ErrorTable, imageErrors, isCounted, METRICS } from './metrics.js';
import type { DepthProtocol } from './protocol.js';
import { type DepthRequest, type DepthSet, selectDepth, stopIfAsked, truthOf } from './select.js';

const SCORES = METRICS.map((metric) => ({ metric, convention: '-' }));
const ORACLE: Head = { source: 'depth maps', head: 'oracle', selected: null };
const CONSTANT: Head = { source: 'depth maps', head: 'constant', selected: null };

/**
 * All heads of a protocol on one encoder; and, as bounds, the mean depth of each patch of the test maps (without a crop no one depth a patch has a lower RMSE) and the mean
 * depth of the training images for every pixel (what a head can say without looking).
 * @throws DataError for sources without depth maps or without a depth that counts, InterruptedError; the same request goes on
 */
export async function depthEntries(request: ProbeRequest<DepthProtocol>): Promise<Entries> {
  const { encoder, protocol, tests, watch } = request;
  const { max_depth: most, crop } = protocol;
  const opened: { close(): Promise<void> }[] = [];
  const open = async (data: EvaluationData, part: string): Promise<DepthSet> => {
    const set = await openPatches('depths', request, data, part);
    opened.push(set);
    return { images: set.images, features: set.features, depths: set.maps };
  };
  const grid: PatchGrid = { ...encoder.grid, patch: encoder.patch };
  const mask = cropMask(crop, encoder.size);
  const notCounted: number[] = [];
  const entries: Entries = { ...noEntries([]), notCounted };
  try {
    const asked: DepthRequest = {
      engine: request.engine,
      train: await open(request.train, 'training images'),
      split: request.split,
      grid,
      most,
      mask,
      metric: protocol.metric,
      seed: request.seed,
      state: request.state,
      signal: watch?.signal,
      onProgress: (text, share) => watch?.onStage?.(text, Math.round(100 * share), 100),
    };
    const mean = await meanDepth(asked, request.train.source.uri);
    const heads = [];
    for (const { form, ...options } of formsOf(protocol, mean))
      heads.push(await selectDepth(asked, form, options));
    for (const { head, grid, selected } of heads)
      addGrid(entries, { source: 'patches', head, selected }, grid);
    const kept = heads.map(({ head }) => head).join(', ');
    entries.notes.push(`${kept}: kept as trained, without a refit on the validation images`);
    for (const [place, test] of tests.entries()) {
      await test.reading();
      const set = await open(test.data, test.name);
      const all = Int32Array.from({ length: set.images }, (_, i) => i);
      const of = { place, test: test.data.source.uri };
      const flat = new Float32Array(mask.length).fill(mean);
      const bounds = [
        { head: ORACLE, say: (truth: Float32Array) => patchMeans(truth, grid, most, mean) },
        { head: CONSTANT, say: () => flat },
      ];
      const tables = bounds.map(() => new ErrorTable());
      let [image, counted] = [0, 0];
      for await (const truth of truthOf(set, all, grid)) {
        stopIfAsked(asked);
        for (const [b, { say }] of bounds.entries()) {
          const errors = imageErrors(truth, say(truth), mask, most);
          tables[b]!.add(image, errors);
          if (b === 0) counted += errors.pixels;
        }
        image++;
      }
      const left = set.images - tables[0]!.samples.length;
      if (left === set.images)
        throw new DataError(`no pixel of ${test.name} has a depth that counts: ${rule(protocol)}`);
      const share = 1 - counted / (set.images * mask.length);
      notCounted.push(share);
      if (share > 0)
        entries.notes.push(
          `${(100 * share).toFixed(1)} % of the pixels of ${test.name} count for no score (counted are ${rule(protocol)})${left === 0 ? '' : `, and ${left} of its ${set.images} images have none that does`}`,
        );
      for (const selected of heads) {
        const table = new ErrorTable();
        const truths = truthOf(set, all, grid);
        let at = 0;
        for await (const said of selected.predict(set)) {
          stopIfAsked(asked);
          table.add(at++, imageErrors((await truths.next()).value as Float32Array, said, mask, most));
        }
        addScores(entries, 'depth', { ...selected, source: 'patches' }, of, table, SCORES);
      }
      for (const [b, { head }] of bounds.entries()) addScores(entries, 'depth', head, of, tables[b]!, SCORES);
    }
    return entries;
  } finally {
    for (const file of opened) await file.close();
  }
}

const rule = ({ max_depth, crop }: DepthProtocol): string =>
  `depths above 0 and up to ${max_depth} m${crop === 'none' ? '' : ` inside of the ${crop} crop`}`;

/** The heads of a protocol; regression starts at the `mean` depth. */
function formsOf({ bins, regression, min_depth: low, max_depth: high }: DepthProtocol, mean: number) {
  const forms: ({ form: DepthForm } & Parameters<typeof selectDepth>[2])[] = [];
  if (bins) {
    const { upsample, count: outputs, warmup_steps: warmup, training } = bins;
    forms.push({ form: { head: 'bins', low, high, upsample }, outputs, warmup, training, bias: 0 });
  }
  if (regression) {
    const { huber, training } = regression;
    forms.push({
      form: { head: 'regression', low, high, huber },
      outputs: 1,
      warmup: 0,
      training,
      bias: mean,
    });
  }
  return forms;
}

/** Mean depth of the pixels that count of the images that are learnt from, in metres. */
async function meanDepth({ train, split, grid, most, signal }: DepthRequest, name: string): Promise<number> {
  let [sum, count] = [0, 0];
  for await (const truth of truthOf(train, split.train, grid)) {
    stopIfAsked({ signal });
    for (const depth of truth) {
      if (!isCounted(depth, most)) continue;
      sum += depth;
      count++;
    }
  }
  if (count > 0) return sum / count;
  throw new DataError(
    `no pixel of the training images of ${name} has a depth above 0 and up to ${most} m: check its scale, or max_depth of the protocol`,
  );
}

/** A map whose patches have their mean depth, over the pixels that count; `none` where none does. */
function patchMeans(
  truth: Float32Array,
  { rows, columns, patch }: PatchGrid,
  most: number,
  none: number,
): Float32Array {
  const cell = (pixel: number): number => {
    const [y, x] = [Math.floor(pixel / (columns * patch)), pixel % (columns * patch)];
    return Math.floor(y / patch) * columns + Math.floor(x / patch);
  };
  const sums = new Float64Array(rows * columns);
  const counts = new Float64Array(rows * columns);
  for (const [pixel, depth] of truth.entries()) {
    if (!isCounted(depth, most)) continue;
    sums[cell(pixel)]! += depth;
    counts[cell(pixel)]!++;
  }
  return truth.map((_, pixel) =>
    counts[cell(pixel)] === 0 ? none : sums[cell(pixel)]! / counts[cell(pixel)]!,
  );
}
