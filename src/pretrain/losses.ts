// The two sides of a loss: what the student has to predict, and how its answers are compared with that.
import { type Config, type Loss, lossOf } from '../config/index.js';
import type { RunOptions, Weights } from '../model/encoder.js';
import { encode } from '../model/encoder.js';
import { fold } from '../model/fold.js';
import { headOutputs } from '../model/head.js';
import { CLUSTERING, clusteringShapes } from '../model/parameters.js';
import { tableWeights, wholeImageCoordinates } from '../model/positions.js';
import type { ModelSizes } from '../model/sizes.js';
import { cluster, valuesAtOnce } from '../teacher/clustering.js';
import { sinkhorn } from '../teacher/sinkhorn.js';
import { huberSum, softCrossEntropy } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';
import { imagesOf } from './inputs.js';

export interface TargetInputs {
  config: Config;
  s: ModelSizes;
  /** Weights of the teacher: the EMA of the student, names without prefix. */
  ema: Weights;
  /** State, for the clustering layer. */
  state: NamedTensorMap;
  /** [N * B, 3 p p] of the whole images. */
  pixels: Tensor;
  batch: number;
  /** Rows of `pixels` that are predicted, [P * B], position-major. */
  rows: Tensor;
  /** Micro-batches of the teacher. */
  parts: number;
}

export interface Targets {
  /** [P * B, W]: assignments, features or pixels. No gradient reaches them. */
  targets: Tensor;
  /** Of the clustering layer, names without prefix; empty without one. */
  gradients: Weights;
  /**
   * What the run reports of them. Prototypes: target_entropy (nats), position_use [N, K] (mean probability by position), and clustering_loss
   * where a layer is trained. Features: position_mean [N, D] and mean_square, over all patches. Pixels: nothing, they cannot collapse.
   */
  outputs: NamedTensorMap;
}

/** The targets of `loss.type`. */
export const targetsOf = (i: TargetInputs): Targets => TARGETS[lossOf(i.config).targets](i);

/**
 * Sum over the rows of answers and targets [T, W] of what `loss.type` says:
 * - `cross-entropy` of the softmax at the student's temperature (paper, Eq. 1; iBOT, arXiv 2111.07832, Eq. 2, without its [CLS] term);
 * - `huber`, mean over the W features (I-JEPA, facebookresearch/ijepa, src/train.py: smooth L1, which is Huber with delta 1);
 * - `squares`, mean over the W values of a patch (MAE, arXiv 2111.06377, Sec. 3).
 */
export function lossSum(config: Config, answers: Tensor, targets: Tensor): Tensor {
  const { student_temperature, huber_delta } = config.loss;
  const mean = (sum: Tensor): Tensor => tf.mul(sum, 1 / answers.shape[1]!);
  switch (lossOf(config).compare) {
    case 'cross-entropy':
      return softCrossEntropy(tf.mul(answers, 1 / student_temperature), targets);
    case 'huber':
      return mean(huberSum(answers, targets, huber_delta));
    case 'squares':
      return mean(tf.sum(tf.square(tf.sub(answers, targets))));
  }
}

/** Mean over rows of the entropy of the targets [T, K], in nats. */
function targetEntropy(targets: Tensor): Tensor {
  const logs = tf.log(tf.maximum(targets, 1e-30));
  return tf.neg(tf.div(tf.sum(tf.mul(targets, logs)), targets.shape[0]!));
}

/** The EMA encoder sees every patch of the whole image; registers are dropped: [N * B, D]. */
function teacherPatches({ s, ema, pixels, batch, parts }: TargetInputs): Tensor {
  const coords = tf.tensor2d(wholeImageCoordinates(s), [s.registers + s.patches, 2]);
  const run: RunOptions = { inference: true };
  if (s.positions === 'learned') {
    run.cells = { patches: tf.tensor2d(tableWeights(s), [s.patches, s.tableHeight * s.tableWidth]) };
  }
  const byImage = tf.reshape(pixels, [s.patches, batch, pixels.shape[1]!]);
  const seen = Array.from({ length: parts }, (_, m) => {
    const b = batch / parts;
    const tokens = encode(ema, s, b, imagesOf(byImage, m, parts), coords, run);
    return tf.reshape(tf.slice(tokens, [s.registers * b, 0], [s.patches * b, s.dim]), [s.patches, b, s.dim]);
  });
  return tf.reshape(tf.concat(seen, 1), [s.patches * batch, s.dim]);
}

const at = (x: Tensor, rows: Tensor): Tensor => tf.gather(x, rows as never) as Tensor;

/** CAPI: online clustering of the teacher's patches, trained by its own loss (paper, Sec. 3.1). */
function clusterTargets(i: TargetInputs): Targets {
  const { config, s } = i;
  const patches = teacherPatches(i);
  const layer = Object.fromEntries(
    Object.keys(clusteringShapes(s)).map((n) => [n, i.state[CLUSTERING + n]!]),
  );
  const clustering = cluster(layer, patches, i.batch, {
    temperature: config.clustering.target_temperature,
    predictionTemperature: config.clustering.prediction_temperature,
    iterations: config.clustering.iterations,
    variant: config.clustering.sinkhorn,
    atOnce: valuesAtOnce(config.engine.device),
  });
  const targets = at(clustering.assignments, i.rows);
  return {
    targets,
    gradients: clustering.gradients,
    outputs: {
      clustering_loss: clustering.loss,
      target_entropy: targetEntropy(targets),
      position_use: clustering.positionUse,
    },
  };
}

/**
 * iBOT: the EMA of the student's head on the teacher's patches, sharpened by `clustering.target_temperature`. In place of iBOT's centring stands
 * Sinkhorn-Knopp, as the paper's run A2fcb has it ("modified", Table 8), over all patches of the image as CAPI's own.
 */
function headTargets(i: TargetInputs): Targets {
  const { s } = i;
  const { clustering } = i.config;
  const patches = teacherPatches(i);
  const logits = headOutputs(fold(i.ema, s), s, patches);
  const grid = [s.patches, i.batch, s.prototypes];
  const assignments = sinkhorn(tf.reshape(logits, grid), {
    temperature: clustering.target_temperature,
    iterations: clustering.iterations,
    variant: clustering.sinkhorn,
  });
  const targets = at(tf.reshape(assignments, [-1, s.prototypes]), i.rows);
  const believed = tf.softmax(tf.mul(logits, 1 / clustering.prediction_temperature));
  return {
    targets,
    gradients: {},
    outputs: {
      target_entropy: targetEntropy(targets),
      position_use: tf.mean(tf.reshape(believed, grid), 1),
    },
  };
}

/** x [T, W] less its row means, over its row standard deviations. */
function standardRows(x: Tensor, eps: number, unbiased: boolean): Tensor {
  const width = x.shape[1]!;
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const squares = tf.sum(tf.square(centred), -1, true);
  return tf.div(centred, tf.sqrt(tf.add(tf.mul(squares, 1 / (unbiased ? width - 1 : width)), eps)));
}

/**
 * I-JEPA: the teacher's features themselves, layer-normalised (facebookresearch/ijepa, src/train.py). The paper gives neither the normalisation
 * nor Huber's delta of its run A3bb3; both are I-JEPA's.
 */
function featureTargets(i: TargetInputs): Targets {
  const { s } = i;
  const all = standardRows(teacherPatches(i), 1e-5, false);
  return {
    targets: at(all, i.rows),
    gradients: {},
    outputs: {
      position_mean: tf.mean(tf.reshape(all, [s.patches, i.batch, s.dim]), 1),
      mean_square: tf.mean(tf.square(all)),
    },
  };
}

/** MAE: the pixels of the patch, each patch standardised by itself (arXiv 2111.06377, Sec. 3; facebookresearch/mae, models_mae.py). */
function pixelTargets(i: TargetInputs): Targets {
  return { targets: standardRows(at(i.pixels, i.rows), 1e-6, true), gradients: {}, outputs: {} };
}

const TARGETS = {
  clustering: clusterTargets,
  head: headTargets,
  features: featureTargets,
  pixels: pixelTargets,
} satisfies Record<Loss['targets'], (i: TargetInputs) => Targets>;
