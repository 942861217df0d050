// The k-NN segmentation head: at every pixel position of a patch, the label that most of the nearest training patches have there.
import { UsageError } from '../../errors.js';
import { chooseRows, type RowSource } from '../../features/rows.js';
import { ImageCounter, type ImageCounts, pixelAccuracy, sumImages } from '../../scores/confusion.js';
import { type NeighbourMetric, nearestNeighbours } from '../../solvers/neighbours.js';
import type { GridScore, PatchRows, SegmentationRequest, SelectedHead } from './patch_set.js';
import { allImages, bestOf, holdRows, stopIfAsked, type TrainingPatches } from './samples.js';

/** Rows of labels that are read at a time while those of neighbours are looked up. */
const LABEL_ROWS = 65_536;

export interface KnnSettings {
  readonly k: readonly number[];
  readonly metrics: readonly NeighbourMetric[];
}

interface KnnScore extends GridScore {
  readonly k: number;
  readonly metric: NeighbourMetric;
}

/** Training patches to look among. */
export interface Keys {
  readonly features: RowSource;
  readonly labels: RowSource<Uint8Array>;
}

/**
 * Chooses k and metric on the validation images and takes all images of the split as keys for the tests (protocol "k-NN head"). Keys are
 * the patches whose modal label is not ignored; every neighbour has one vote at each pixel position, and of equal votes the smallest
 * id wins. All k of a metric come from one search. The order of the grid, by metric and then k as listed, decides ties. Keys
 * are read block by block, so memory does not grow with them. Throws UsageError when every k is larger than the number of keys.
 */
export async function selectKnn(
  request: SegmentationRequest,
  settings: KnnSettings,
  training: TrainingPatches,
  miou: (counts: ImageCounts) => number,
): Promise<SelectedHead> {
  const { split, state } = request;
  const fitting = training.learnable(split.train);
  const usable = settings.k.filter((k) => k <= fitting.length);
  if (usable.length === 0) {
    throw new UsageError(
      `k is ${settings.k.join(', ')}; accepted: at most the ${fitting.length} training patches`,
    );
  }
  const left = settings.k.filter((k) => k > fitting.length);
  const notes =
    left.length > 0 ? [`k-NN: k = ${left.join(', ')} left out, of ${fitting.length} patches`] : [];

  const saved = await state?.load('knn');
  const done = { ...saved?.values } as Partial<Record<NeighbourMetric, KnnScore[]>>;
  for (const metric of settings.metrics) {
    if (done[metric]) continue;
    const held = training.choose(split.validation);
    const counters = usable.map(() => new ImageCounter(held.images, request));
    let image = 0;
    for await (const predicted of neighbourLabels(
      request,
      training,
      keysOf(request, training, fitting),
      held,
      usable,
      metric,
    )) {
      const truth = await held.labels.read(image * training.patches, training.patches);
      for (const [i, counter] of counters.entries()) counter.add(truth, predicted[i]!);
      image++;
    }
    done[metric] = usable.map((k, i): KnnScore => {
      const { counts } = counters[i]!;
      return { k, metric, miou: miou(counts), accuracy: pixelAccuracy(sumImages(counts)) };
    });
    await state?.save('knn', { values: done, tensors: {} });
  }
  const grid = settings.metrics.flatMap((metric) => done[metric]!);
  const { k, metric } = bestOf(grid);
  return {
    head: 'knn',
    grid,
    selected: { k, metric },
    refit: true,
    notes,
    async *predict(set) {
      const keys = keysOf(request, training, training.learnable(allImages(split)));
      for await (const [predicted] of neighbourLabels(request, training, keys, set, [k], metric))
        yield predicted!;
    },
  };
}

/** The rows of `train` that are looked among. */
export function keysOf({ train }: SegmentationRequest, training: TrainingPatches, rows: Int32Array): Keys {
  return {
    features: training.scaled(chooseRows(train.features, rows)),
    labels: chooseRows(train.labels, rows),
  };
}

/** For every image of `set` in order, and for every k of `ks` (in any order): the labels of its pixels, patch by patch. */
export async function* neighbourLabels(
  request: SegmentationRequest,
  training: TrainingPatches,
  keys: Keys,
  set: PatchRows,
  ks: readonly number[],
  metric: NeighbourMetric,
): AsyncGenerator<Uint8Array[]> {
  const { patches, pixels, memory } = training;
  const most = Math.max(...ks);
  const { indices } = await nearestNeighbours({
    engine: request.engine,
    train: keys.features,
    test: await holdRows(training.scaled(set.features), memory),
    width: keys.features.width,
    k: most,
    metric,
    onProgress: (share) => {
      stopIfAsked(request);
      request.onProgress?.(`k-NN ${metric}`, share);
    },
  });
  const labels = await holdRows(keys.labels, memory);
  const perImage = patches * most;
  const group = Math.max(1, Math.floor(memory / (perImage * pixels)));
  for (let first = 0; first < set.images; first += group) {
    stopIfAsked(request);
    const images = Math.min(group, set.images - first);
    const found = await rowsAt(labels, indices.subarray(first * perImage, (first + images) * perImage));
    for (let image = 0; image < images; image++) {
      const own = found.subarray(image * perImage * pixels, (image + 1) * perImage * pixels);
      yield vote(own, { patches, pixels, most }, ks);
    }
  }
}

/** The rows at `places` (in any order), each read once for all places of its block. */
async function rowsAt(source: RowSource<Uint8Array>, places: Int32Array): Promise<Uint8Array> {
  const { count, width } = source;
  const out = new Uint8Array(places.length * width);
  // Positions in `places`, sorted by the block that the row lies in.
  const ends = new Int32Array(Math.ceil(count / LABEL_ROWS) + 1);
  for (const place of places) ends[Math.floor(place / LABEL_ROWS) + 1]!++;
  for (let block = 1; block < ends.length; block++) ends[block]! += ends[block - 1]!;
  const next = ends.slice();
  const order = new Int32Array(places.length);
  for (let i = 0; i < places.length; i++) order[next[Math.floor(places[i]! / LABEL_ROWS)]!++] = i;
  for (let block = 0; block + 1 < ends.length; block++) {
    if (ends[block] === ends[block + 1]) continue;
    const first = block * LABEL_ROWS;
    const rows = await source.read(first, Math.min(LABEL_ROWS, count - first));
    for (let o = ends[block]!; o < ends[block + 1]!; o++) {
      const from = (places[order[o]!]! - first) * width;
      out.set(rows.subarray(from, from + width), order[o]! * width);
    }
  }
  return out;
}

/**
 * `labels` [patches, most, pixels] of each patch's neighbours, nearest first -> for every k, the most frequent label of the first k at each
 * position [patches * pixels]; of equally frequent ones the smallest.
 */
export function vote(
  labels: Uint8Array,
  { patches, pixels, most }: { patches: number; pixels: number; most: number },
  ks: readonly number[],
): Uint8Array[] {
  const out = ks.map(() => new Uint8Array(patches * pixels));
  const order = [...ks.keys()].sort((a, b) => ks[a]! - ks[b]!);
  const counts = new Uint32Array(256);
  for (let patch = 0; patch < patches; patch++) {
    for (let pixel = 0; pixel < pixels; pixel++) {
      const start = patch * most * pixels + pixel;
      let winner = labels[start]!;
      let next = 0;
      for (let j = 0; j < most; j++) {
        const label = labels[start + j * pixels]!;
        const count = ++counts[label]!;
        if (count > counts[winner]! || (count === counts[winner]! && label < winner)) winner = label;
        while (next < order.length && ks[order[next]!] === j + 1) {
          out[order[next++]!]![patch * pixels + pixel] = winner;
        }
      }
      for (let j = 0; j < most; j++) counts[labels[start + j * pixels]!] = 0;
    }
  }
  return out;
}
