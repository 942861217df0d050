// The end of a step: AdamW on the student and the clustering layer, then the teacher's EMA, on rows of many parameters each.
import type { Config } from '../config/index.js';
import type { Weights } from '../model/blocks.js';
import {
  CLUSTERING,
  EMA,
  FIRST_MOMENT,
  isRope,
  parameterGroup,
  SECOND_MOMENT,
  STUDENT,
} from '../model/parameters.js';
import { adamw } from '../optim/adamw.js';
import { parameterRows } from '../optim/rows.js';
import { emaUpdate } from '../teacher/ema.js';
import { flat, unflat } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';

/** Norm of all gradients together, and what clipping to `most` multiplies them by; null: they are not clipped. */
export function gradientNorm(gradients: Weights, most: number | null): { norm: Tensor; clip: Tensor | null } {
  const squares = Object.values(gradients).map((g) => tf.sum(tf.square(g)));
  const norm = tf.sqrt(tf.addN(squares as never[]));
  return { norm, clip: most === null ? null : tf.minimum(tf.div(most, tf.add(norm, 1e-6)), 1) };
}

/** The state after the inputs `i` of a step, by the gradients of student (times `clip`) and clustering layer, names without prefix. */
export function nextState(
  config: Config,
  i: NamedTensorMap,
  gradients: { student: Weights; clip: Tensor | null; clustering: Weights },
): NamedTensorMap {
  const o = config.optim;
  const multipliers = { patchEmbedLr: o.patch_embed_lr_multiplier, normDecay: o.norm_decay_multiplier };
  const out: NamedTensorMap = {};
  const now = (names: string[]): Tensor => flat(names.map((name) => i[name]!));
  const put = (names: string[], row: Tensor): void => {
    const next = unflat(
      row,
      names.map((name) => i[name]!.shape),
    );
    for (const [j, name] of names.entries()) out[name] = next[j]!;
  };
  const update = (
    names: string[],
    gradient: Tensor,
    lr: Tensor,
    group: { lr: number; decay: number },
  ): Tensor => {
    const [m, v] = [FIRST_MOMENT, SECOND_MOMENT].map((moment) => names.map((name) => name + moment));
    const scalars = { lr, correction1: i.correction1!, rootCorrection2: i.root_correction2! };
    const next = adamw({ value: now(names), m: now(m!), v: now(v!) }, gradient, scalars, o, group);
    put(names, next.value);
    put(m!, next.m);
    put(v!, next.v);
    return next.value;
  };
  for (const { names, group } of parameterRows(gradients.student, (n) => parameterGroup(n, multipliers))) {
    if (names.some(isRope)) {
      for (const n of names) for (const p of [STUDENT, EMA]) out[p + n] = i[p + n]!; // they stay as they are
      continue;
    }
    const gradient = flat(names.map((n) => gradients.student[n]!));
    const clipped = gradients.clip ? tf.mul(gradient, gradients.clip) : gradient;
    const student = names.map((n) => STUDENT + n);
    const next = update(student, clipped, i.lr!, { lr: group.lr, decay: group.decay * o.weight_decay });
    const averaged = names.map((n) => EMA + n);
    put(averaged, emaUpdate(now(averaged), next, i.momentum!));
  }
  for (const [name, g] of Object.entries(gradients.clustering)) {
    update([CLUSTERING + name], flat([g]), i.clustering_lr!, { lr: 1, decay: o.clustering_weight_decay });
  }
  return out;
}
