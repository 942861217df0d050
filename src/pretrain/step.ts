// The method on one page: one CAPI training step as a program (teacher, clustering, student, update).
import { batchParts, type Config, patchCounts } from '../config/index.js';
import type { Program, TensorSpec } from '../engine/program.js';
import type { Weights } from '../model/blocks.js';
import { encode, predict, predictFused } from '../model/encoder.js';
import { fold, unfold } from '../model/fold.js';
import { headOutputs } from '../model/head.js';
import {
  allShapes,
  CLUSTERING,
  EMA,
  isRope,
  optimiserShapes,
  ropeFrequencies,
  STUDENT,
  studentShapes,
} from '../model/parameters.js';
import { patchesFromBytes, patchesFromPlanes } from '../model/patches.js';
import { type ModelSizes, modelSizes } from '../model/sizes.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';
import { imagesOf, inputSpecs, studentInputs } from './inputs.js';
import { lossSum, targetsOf } from './losses.js';
import { gradientNorm, nextState } from './update.js';

export interface StepOptions {
  /** Channel mean and standard deviation in [0, 1] units. */
  mean?: number[];
  std?: number[];
  /** For parity tests: normalised float images [B, 3, H, W], rotary frequencies as parameters, more outputs. */
  reference?: boolean;
}

/**
 * The training step of `config`, in the micro-batches that its engine section says: less memory and a warmer cache; they change results by rounding only.
 * Inputs beside the state: `inputSpecs`. Outputs: capi_loss (the student's, whatever `loss.type`), gradient_norm, and what
 * losses.ts reports: of CAPI clustering_loss, target_entropy, position_use.
 */
export function stepProgram(config: Config, { mean, std, reference = false }: StepOptions = {}): Program {
  const s = modelSizes(config);
  const { batch } = config.train;
  const { predicted, queries } = patchCounts(config);
  const parts = batchParts(config);
  const microBatch = batch / parts.student;
  const { products } = config.precision;
  const state = stateSpecs(s, reference);

  const run = (i: NamedTensorMap): NamedTensorMap => {
    const pixels = reference
      ? patchesFromPlanes(i.images!, s, batch)
      : patchesFromBytes(i.images!, s, batch, mean!, std!);
    const rows = tf.reshape(i.predict_rows!, [-1]);

    // Teacher: the EMA of the student sees every patch of the whole image. Clustering: its patch features are assigned to prototypes, position
    // by position, and the prototypes are trained by a loss of their own. The assignments of the predicted positions are the targets.
    const ema = weightsOf(s, i, EMA, reference);
    const teacher = targetsOf({ config, s, ema, state: i, pixels, batch, rows, parts: parts.teacher });
    const targets = tf.reshape(teacher.targets, [predicted, batch, teacher.targets.shape[1]!]);

    // Student: the encoder sees the visible patches and registers, the predictor is asked at masked positions and reads the encoder's output, and the
    // head's answers are compared with the targets: a mean over predicted positions and images.
    const student = weightsOf(s, i, STUDENT, reference);
    const studentLoss = (w: Weights, m: number): Tensor => {
      const seen = studentInputs(config, i, pixels, m);
      const runOptions = { ...seen.run, ...(reference ? { tableGradient: true } : {}) };
      const ask = [seen.queries, seen.context, runOptions] as const;
      const predictions =
        s.predictor === 'fused'
          ? predictFused(w, s, microBatch, queries, seen.pixels, ...ask)
          : predict(
              w,
              s,
              microBatch,
              queries,
              encode(w, s, microBatch, seen.pixels, seen.context, runOptions),
              ...ask,
            );
      const answers = headOutputs(w, s, firstRows(predictions, predicted * microBatch));
      return tf.mul(lossSum(config, answers, imagesOf(targets, m, parts.student)), 1 / (predicted * batch));
    };
    const { losses, gradients } = overMicroBatches(s, student, parts.student, studentLoss, reference);

    // Update: AdamW on student and prototypes; the teacher follows the student.
    const { norm, clip } = gradientNorm(gradients, config.optim.clip_norm);
    const out: NamedTensorMap = {
      capi_loss: losses.length === 1 ? losses[0]! : tf.addN(losses as never[]),
      gradient_norm: norm,
      ...teacher.outputs,
      ...nextState(config, i, { student: gradients, clip, clustering: teacher.gradients }),
    };
    if (reference) {
      out.targets = teacher.targets;
      for (const [n, g] of Object.entries(gradients)) out[`gradient.${STUDENT}${n}`] = g;
      for (const [n, g] of Object.entries(teacher.gradients)) out[`gradient.${CLUSTERING}${n}`] = g;
    }
    return out;
  };
  return {
    name: `capi_step_${s.dim}x${s.depth}`,
    inputs: { ...state, ...inputSpecs(config, reference) },
    state: Object.keys(state),
    batch: { images: batch, atOnce: Math.max(batch / parts.teacher, microBatch) },
    ...(products === 'float32' ? {} : { products }),
    run,
  };
}

/** Rotary frequencies are constants of the program, and in the parity tests' form parameters. */
const isConstant = (name: string, reference: boolean): boolean => isRope(name) && !reference;

function stateSpecs(s: ModelSizes, reference: boolean): Record<string, TensorSpec> {
  const shapes = Object.entries({ ...allShapes(s), ...optimiserShapes(s) });
  return Object.fromEntries(
    shapes
      .filter(([name]) => !isConstant(name, reference))
      .map(([name, shape]) => [name, { shape, dtype: 'float32' }]),
  );
}

/** The weights of student or teacher, names without `prefix`. */
function weightsOf(s: ModelSizes, i: NamedTensorMap, prefix: string, reference: boolean): Weights {
  const names = Object.keys(studentShapes(s));
  const turns = (d: number): Tensor => tf.tensor2d(ropeFrequencies(d, s.ropeMin, s.ropeMax), [2, d]);
  const fixed = names.some((n) => isConstant(n, reference))
    ? { encoder: turns(s.dim / s.heads), decoder: turns(s.predictorDim / s.predictorHeads) }
    : undefined;
  return Object.fromEntries(
    names.map((n) => [
      n,
      isConstant(n, reference) ? fixed![n.includes('.encoder.') ? 'encoder' : 'decoder'] : i[prefix + n]!,
    ]),
  );
}

const firstRows = (x: Tensor, count: number): Tensor =>
  x.shape[0] === count ? x : tf.slice(x, [0, 0], [count, x.shape[1]!]);

/** Losses of all micro-batches, and their summed gradient by the student's weights; nothing else of one outlives it. */
function overMicroBatches(
  s: ModelSizes,
  student: Weights,
  parts: number,
  loss: (w: Weights, m: number) => Tensor,
  reference: boolean,
): { losses: Tensor[]; gradients: Weights } {
  const folded = fold(student, s);
  const trained = Object.keys(folded).filter((n) => !isConstant(n, reference));
  const losses: Tensor[] = [];
  let sums: Tensor[] = [];
  for (let m = 0; m < parts; m++) {
    const { value, grads } = tf.valueAndGrads((...values: Tensor[]) => {
      const w = { ...folded, ...Object.fromEntries(trained.map((n, j) => [n, values[j]!])) };
      return loss(w, m) as never;
    })(trained.map((n) => folded[n]!));
    losses.push(value);
    sums = m === 0 ? grads : grads.map((g, j) => tf.add(sums[j]!, g));
  }
  const gradients = Object.fromEntries(trained.map((n, j) => [n, sums[j]!]));
  return { losses, gradients: unfold(student, gradients, s) };
}
