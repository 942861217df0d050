// Few-shot classification: a head from a handful of labelled images of each class, over several draws of them.

import { stream } from '../../base/random.js';
import type { Engine } from '../../engine/program.js';
import { DataError } from '../../errors.js';
import { largestClass, topOne } from '../../scores/classification.js';
import { fitLogistic } from '../../solvers/logistic.js';
import { nearestNeighbours, type VectorSource, vectorsInMemory } from '../../solvers/neighbours.js';
import { headPredictionProgram } from './heads.js';
import type { LabelledVectors, VectorTestSet } from './knn.js';

export type FewShotHead = 'centroid' | 'logistic';

export interface FewShotRequest {
  readonly engine: Engine;
  readonly width: number;
  readonly train: LabelledVectors;
  /** In memory: they are read for every draw. */
  readonly tests: readonly (VectorTestSet & { readonly features: Float32Array })[];
  readonly shots: readonly number[];
  readonly draws: number;
  readonly heads: readonly FewShotHead[];
  /** scikit-learn's C of the logistic head. */
  readonly C: number;
  readonly seed: number;
}

/** One head with one number of shots on one test set. */
export interface FewShotResult {
  readonly test: string;
  readonly head: FewShotHead;
  readonly shots: number;
  /** Top-1 of every draw, and their mean. */
  readonly draws: readonly number[];
  readonly accuracy: number;
  /** Test images counted, ascending: those with a label. */
  readonly samples: Int32Array;
  /** [samples.length]: the share of the draws that got the image right. */
  readonly hits: Float32Array;
}

/** Samples of one call of a prediction program. */
const PREDICTION_BATCH = 256;

/**
 * Top-1 with `shots` training images of every class, drawn `draws` times by (seed, draw, class); larger numbers of shots contain the
 * smaller ones of the same draw. Features are centred by the mean of the shots and brought to length 1, as SimpleShot's CL2N (Wang et al. 2019) and
 * the low-shot evaluation of MSN (Assran et al. 2022) do. `centroid`: the class whose mean shot is nearest (Euclidean).
 * `logistic`: multinomial regression on the shots, L2 penalty, the intercept free. Nothing is selected, so that no images are held out.
 * @throws DataError when a class has fewer images than shots
 */
export async function fewShotClassification(request: FewShotRequest): Promise<FewShotResult[]> {
  const { train, tests, heads, width, engine } = request;
  const images = imagesByClass(train.labels, Math.max(...request.shots));
  const classes = Int32Array.from(images.keys()).sort();
  const results: FewShotResult[] = [];
  for (const shots of request.shots) {
    const scores = new Map<string, { draws: number[]; samples: Int32Array; hits: Float32Array }>();
    for (let draw = 0; draw < request.draws; draw++) {
      const chosen = [...classes].flatMap((label) => {
        const own = Int32Array.from(images.get(label)!);
        return [...stream(request.seed, 'few-shot', draw, label).shuffle(own).subarray(0, shots)];
      });
      const rows = await rowsAt(train.features, chosen, width);
      const centre = meanRow(rows, width);
      const drawn: Shots = { rows: centred(rows, centre), width, classes: classes.length, shots };
      for (const { name, features, labels, classSubset } of tests) {
        const queries = centred(features, centre);
        const places = [...classes.keys()].filter((i) => classSubset?.includes(classes[i]!) ?? true);
        if (places.length === 0) throw new DataError(`no class of ${name} is among the training images`);
        for (const head of heads) {
          const found =
            head === 'centroid'
              ? await nearestCentroid(engine, drawn, places, queries)
              : await logistic(engine, drawn, places, queries, request.C);
          const key = `${head} ${name}`;
          const { accuracy, samples, hits } = topOne(
            found.map((place) => classes[place]!),
            labels,
          );
          const score = scores.get(key) ?? { draws: [], samples, hits: new Float32Array(hits.length) };
          score.draws.push(accuracy);
          hits.forEach((hit, i) => {
            score.hits[i]! += hit / request.draws;
          });
          scores.set(key, score);
        }
      }
    }
    for (const head of heads) {
      for (const { name } of tests) {
        const score = scores.get(`${head} ${name}`)!;
        const accuracy = score.draws.reduce((a, b) => a + b, 0) / score.draws.length;
        results.push({ test: name, head, shots, accuracy, ...score });
      }
    }
  }
  return results;
}

/** The shots of a draw, prepared: [classes * shots, width], one class after another. */
interface Shots {
  readonly rows: Float32Array;
  readonly width: number;
  readonly classes: number;
  readonly shots: number;
}

function imagesByClass(labels: ArrayLike<number>, atLeast: number): Map<number, number[]> {
  const images = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (label < 0) continue;
    const own = images.get(label);
    if (own) own.push(i);
    else images.set(label, [i]);
  }
  if (images.size === 0) throw new DataError('no training image has a label');
  for (const [label, own] of images) {
    if (own.length < atLeast) {
      throw new DataError(
        `class ${label} has ${own.length} training images, fewer than the ${atLeast} shots`,
      );
    }
  }
  return images;
}

async function rowsAt(
  features: Float32Array | VectorSource,
  chosen: readonly number[],
  width: number,
): Promise<Float32Array> {
  const source = features instanceof Float32Array ? vectorsInMemory(features, width) : features;
  const out = new Float32Array(chosen.length * width);
  for (const [i, row] of chosen.entries()) out.set(await source.read(row, 1), i * width);
  return out;
}

function meanRow(rows: Float32Array, width: number): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) mean[i % width]! += (rows[i]! * width) / rows.length;
  return mean;
}

/** Rows minus `centre`, each at length 1 (one that is the centre stays 0). */
function centred(rows: Float32Array, centre: Float64Array): Float32Array {
  const width = centre.length;
  const out = new Float32Array(rows.length);
  for (let from = 0; from < rows.length; from += width) {
    let square = 0;
    for (let j = 0; j < width; j++) square += (rows[from + j]! - centre[j]!) ** 2;
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let j = 0; j < width; j++) out[from + j] = (rows[from + j]! - centre[j]!) * scale;
  }
  return out;
}

/** The place of the nearest mean of shots among `places`, for every query; of equally near ones the first. */
async function nearestCentroid(
  engine: Engine,
  { rows, width, shots }: Shots,
  places: readonly number[],
  queries: Float32Array,
): Promise<Int32Array> {
  const train = new Float32Array(places.length * width);
  for (const [i, place] of places.entries()) {
    const own = rows.subarray(place * shots * width, (place + 1) * shots * width);
    train.set(meanRow(own, width), i * width);
  }
  const found = await nearestNeighbours({ engine, train, test: queries, width, k: 1, metric: 'l2' });
  return found.indices.map((i) => places[i]!);
}

/** The place of the most likely class among `places`, for every query. */
async function logistic(
  engine: Engine,
  { rows, width, classes, shots }: Shots,
  places: readonly number[],
  queries: Float32Array,
  C: number,
): Promise<Int32Array> {
  const labels = Int32Array.from({ length: classes * shots }, (_, i) => Math.floor(i / shots));
  const { parameters } = await fitLogistic({ features: rows, width, labels }, C);
  const at = (k: number, j: number) => parameters[k * (width + 1) + j]!;
  const sizes = { width, tokens: null, classes, points: 1 };
  const executable = await engine.load(headPredictionProgram(sizes, PREDICTION_BATCH, { logits: true }));
  try {
    executable.setState({
      'linear.weight': Float32Array.from({ length: width * classes }, (_, i) =>
        at(i % classes, Math.floor(i / classes)),
      ),
      'linear.bias': Float32Array.from({ length: classes }, (_, k) => at(k, width)),
    });
    const out = new Int32Array(queries.length / width);
    for (let first = 0; first < out.length; first += PREDICTION_BATCH) {
      const features = new Float32Array(PREDICTION_BATCH * width);
      features.set(queries.subarray(first * width, (first + PREDICTION_BATCH) * width));
      const { logits } = await executable.run({ features });
      const found = largestClass(logits!, classes, places);
      out.set(found.subarray(0, Math.min(PREDICTION_BATCH, out.length - first)), first);
    }
    return out;
  } finally {
    await executable.dispose();
  }
}
