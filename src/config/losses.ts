// What each loss is made of: a row for each of Table 1c of the paper, and MAE's. Adding a loss begins here.

/** A loss as a combination of a head, targets and a comparison; their code: src/model/head.ts and src/pretrain/losses.ts. */
export interface Loss {
  /** What the student's predictions go through. */
  head: 'linear' | 'mlp' | 'identity' | 'pixels';
  /** What is predicted: assignments to the prototypes of an online clustering or of the teacher's own head, its features, or pixels. */
  targets: 'clustering' | 'head' | 'features' | 'pixels';
  /** How predictions are judged. */
  compare: 'cross-entropy' | 'huber' | 'squares';
  /** Why the predictor has to be as wide as the encoder, where it has to. */
  sameWidth?: string;
}

export const LOSSES = {
  capi: { head: 'linear', targets: 'clustering', compare: 'cross-entropy' },
  'capi-mlp': { head: 'mlp', targets: 'clustering', compare: 'cross-entropy' },
  ibot: {
    head: 'mlp',
    targets: 'head',
    compare: 'cross-entropy',
    sameWidth: "puts the teacher's copy of the head on the encoder",
  },
  direct: {
    head: 'identity',
    targets: 'features',
    compare: 'huber',
    sameWidth: 'compares predictions with features of the encoder',
  },
  pixel: { head: 'pixels', targets: 'pixels', compare: 'squares' },
} satisfies Record<string, Loss>;

export type LossName = keyof typeof LOSSES;

/** The row of a config's loss. */
export const lossOf = (config: { loss: { type: LossName } }): Loss => LOSSES[config.loss.type];

/** Whether targets are assignments to prototypes. */
export const isAssigned = (config: { loss: { type: LossName } }): boolean =>
  ['clustering', 'head'].includes(lossOf(config).targets);
