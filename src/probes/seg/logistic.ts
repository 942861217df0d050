// The logistic-regression segmentation head: one label a patch, L2-regularised, C chosen on the validation images.
import { chooseRows } from '../../features/rows.js';
import { ImageCounter, type ImageCounts, pixelAccuracy, sumImages } from '../../scores/confusion.js';
import {
  fitLogistic,
  type LogisticModel,
  type SoftmaxObjective,
  softmaxInMemory,
} from '../../solvers/logistic.js';
import { predictStreamed, StreamedSoftmax } from '../../solvers/softmax_stream.js';
import type { Piece } from '../state.js';
import type { GridScore, PatchRows, SegmentationRequest, SelectedHead } from './patch_set.js';
import { allImages, bestOf, holdRows, stopIfAsked, type TrainingPatches } from './samples.js';

/** Multiplications of one pass up to which plain float64 loops take its place on the engine: a tenth of a second. */
const PLAIN_WORK = 2 ** 26;

export interface LogisticSettings {
  readonly C: readonly number[];
  readonly max_iterations: number;
  readonly tolerance: number;
}

interface LogisticScore extends GridScore {
  readonly C: number;
  readonly iterations: number;
  readonly converged: boolean;
  readonly blur: number;
}

/**
 * Fits every C, in ascending order and each from the one before, to the modal labels of the patches of `split.train`; the best on the
 * validation images, of equal ones the smallest, is fitted again to all images of the split (protocol "Logistic-regression head"). The
 * predicted label fills its patch. Samples are held when they fit `request.memory` and streamed otherwise: the same minimum, found with
 * products in float32, or in float64 where they are few.
 */
export async function selectLogistic(
  request: SegmentationRequest,
  settings: LogisticSettings,
  training: TrainingPatches,
  miou: (counts: ImageCounts) => number,
): Promise<SelectedHead> {
  const { split, state } = request;
  const grid: LogisticScore[] = [];
  const models: LogisticModel[] = [];
  let samples: Samples | undefined;
  try {
    for (const C of [...settings.C].sort((a, b) => a - b)) {
      const name = `logreg/C=${C}`;
      let saved = unpack(await state?.load(name));
      if (!saved) {
        samples ??= await openSamples(request, training, split.train);
        const model = await fitFor(request, settings, samples, C, models.at(-1));
        const counts = await validate(request, training, model, C);
        const { iterations, converged, blur } = model;
        const score = { miou: miou(counts), accuracy: pixelAccuracy(sumImages(counts)) };
        saved = { model, point: { C, ...score, iterations, converged, blur } };
        await state?.save(name, pack(saved));
      }
      grid.push(saved.point);
      models.push(saved.model);
    }
  } finally {
    await samples?.dispose();
  }
  const point = bestOf(grid);
  const final = await refit(request, settings, training, point, models[grid.indexOf(point)]!);
  const points = [...grid, final.point];
  const list = (some: readonly LogisticScore[]) => [...new Set(some.map(({ C }) => C))].join(', ');
  const stopped = points.filter(({ converged }) => !converged);
  const blurred = points.filter(({ blur }) => blur > 0);
  return {
    head: 'logreg',
    grid,
    selected: { C: point.C },
    refit: true,
    notes: [
      ...(stopped.length > 0
        ? [`logistic regression: ${settings.max_iterations} iterations ran out at C = ${list(stopped)}`]
        : []),
      ...(blurred.length > 0
        ? [
            `logistic regression: float32 leaves up to ${Math.max(...blurred.map(({ blur }) => blur)).toExponential(0)} of the objective open at C = ${list(blurred)}`,
          ]
        : []),
    ],
    predict: (set) => predictions(request, training, final.model, set, 'logistic regression: test'),
  };
}

interface Fitted {
  readonly model: LogisticModel;
  readonly point: LogisticScore;
}

/** The chosen C on all images of the split. */
async function refit(
  request: SegmentationRequest,
  settings: LogisticSettings,
  training: TrainingPatches,
  point: LogisticScore,
  start: LogisticModel,
): Promise<Fitted> {
  const { state, split } = request;
  const saved = unpack(await state?.load('logreg/refit'));
  if (saved) return saved;
  const samples = await openSamples(request, training, allImages(split));
  try {
    const model = await fitFor(request, settings, samples, point.C, start);
    const { iterations, converged, blur } = model;
    const found = { model, point: { ...point, iterations, converged, blur } };
    await state?.save('logreg/refit', pack(found));
    return found;
  } finally {
    await samples.dispose();
  }
}

type Samples = SoftmaxObjective & { dispose(): Promise<void> };

/** The learnable patches of some images, held where they fit. */
async function openSamples(
  { engine, train }: SegmentationRequest,
  training: TrainingPatches,
  images: Int32Array,
): Promise<Samples> {
  const { standardiser, memory, modal } = training;
  const rows = training.learnable(images);
  const labels = Uint8Array.from(rows, (row) => modal[row]!);
  const stored = chooseRows(train.features, rows);
  const { count, width } = stored;
  if (4 * count * width > memory)
    return StreamedSoftmax.open(engine, { features: stored, labels, standardiser });
  const features = await holdRows(training.scaled(stored), memory);
  if (engine.name === 'reference' || count * width * new Set(labels).size <= PLAIN_WORK) {
    const values = (await features.read(0, count)) as Float32Array;
    return { ...softmaxInMemory({ features: values, width, labels }), dispose: async () => {} };
  }
  return StreamedSoftmax.open(engine, { features, labels });
}

async function fitFor(
  request: SegmentationRequest,
  settings: LogisticSettings,
  samples: Samples,
  C: number,
  start: LogisticModel | undefined,
): Promise<LogisticModel> {
  const { classes, width, totalWeight } = samples;
  let passes = 0;
  const watch = (): void => {
    stopIfAsked(request);
    // How many passes it takes is not known; the share approaches 1.
    request.onProgress?.(`logistic regression: C = ${C}`, passes / (passes + 30));
    passes++;
  };
  const { noise, precise } = samples;
  const watched: SoftmaxObjective = {
    classes,
    width,
    totalWeight,
    evaluate(theta, gradient) {
      watch();
      return samples.evaluate(theta, gradient);
    },
    ...(noise === undefined ? {} : { noise }),
    ...(precise && {
      precise(theta: Float64Array, gradient: Float64Array) {
        watch();
        return precise(theta, gradient);
      },
    }),
    preconditioner: (theta, penalty) => samples.preconditioner(theta, penalty),
  };
  const { max_iterations: maxIterations, tolerance } = settings;
  return fitLogistic(watched, C, { start, maxIterations, tolerance });
}

async function validate(
  request: SegmentationRequest,
  training: TrainingPatches,
  model: LogisticModel,
  C: number,
): Promise<ImageCounts> {
  const held = training.choose(request.split.validation);
  const counter = new ImageCounter(held.images, request);
  let image = 0;
  for await (const predicted of predictions(
    request,
    training,
    model,
    held,
    `logistic regression: C = ${C}`,
  )) {
    counter.add(await held.labels.read(image * training.patches, training.patches), predicted);
    image++;
  }
  return counter.counts;
}

/** The labels of all pixels, image by image. */
async function* predictions(
  request: SegmentationRequest,
  { patches, pixels, standardiser }: TrainingPatches,
  model: LogisticModel,
  set: PatchRows,
  text: string,
): AsyncGenerator<Uint8Array> {
  const labels = await predictStreamed(
    request.engine,
    model,
    { features: set.features, standardiser },
    (share) => {
      stopIfAsked(request);
      request.onProgress?.(text, share);
    },
  );
  const out = new Uint8Array(patches * pixels);
  for (let image = 0; image < set.images; image++) {
    for (let patch = 0; patch < patches; patch++) {
      out.fill(labels[image * patches + patch]!, patch * pixels, (patch + 1) * pixels);
    }
    yield out;
  }
}

/** JSON gives every float64 back as it was. */
function pack({ model, point }: Fitted): Piece {
  const { classes, parameters, ...rest } = model;
  const plain = { ...rest, classes: [...classes], parameters: [...parameters] };
  return { values: { model: plain, point }, tensors: {} };
}

function unpack(piece: Piece | undefined): Fitted | undefined {
  if (!piece) return undefined;
  const { model, point } = piece.values as { model: LogisticModel; point: LogisticScore };
  const [classes, parameters] = [Int32Array.from(model.classes), Float64Array.from(model.parameters)];
  return { model: { ...model, classes, parameters }, point };
}
