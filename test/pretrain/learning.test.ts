// Setups that cannot learn: what is refused is shown to be hopeless by the targets themselves, what is likely is a warning that says what helps.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { loadConfig } from '../../src/config/index.js';
import { checkMemory } from '../../src/pretrain/cost.js';
import { checkLearning, learningNotes, learningWarnings, poorTargets } from '../../src/pretrain/learning.js';
import { sinkhorn } from '../../src/teacher/sinkhorn.js';
import { tf } from '../../src/tensor/tf.js';

const config = (...sets: string[]) => loadConfig({ preset: 'quickstart', sets }).config;

/** Entropy of the targets of random logits, as a share of ln K. */
function entropyShare(batch: number, prototypes: number, variant: 'positionwise' | 'standard'): number {
  const random = stream(3, 'logits');
  const logits = tf.tensor3d(
    Float32Array.from({ length: 16 * batch * prototypes }, () => random.normal()),
    [16, batch, prototypes],
  );
  const p = sinkhorn(logits as never, { temperature: 0.06, iterations: 3, variant }).dataSync();
  let sum = 0;
  for (const x of p) if (x > 0) sum -= x * Math.log(x);
  return sum / (16 * batch) / Math.log(prototypes);
}

describe('position-wise Sinkhorn over one image', () => {
  it('gives uniform targets, and over two or over all positions it does not', () => {
    expect(entropyShare(1, 16, 'positionwise')).toBeCloseTo(1, 5);
    expect(entropyShare(2, 16, 'positionwise')).toBeLessThan(0.9);
    expect(entropyShare(1, 16, 'standard')).toBeLessThan(0.5);
  });

  it('is refused for every loss that has such targets', () => {
    for (const loss of ['capi', 'capi-mlp', 'ibot'])
      expect(() => checkLearning(config('train.batch=1', `loss.type=${loss}`))).toThrow(
        /all targets are uniform, the loss stays at ln 128 = 4\.852 and nothing is learnt; accepted: .* at least 2/,
      );
  });

  it.each([
    ['train.batch=2'],
    ['train.batch=1', 'clustering.sinkhorn=standard'],
    ['train.batch=1', 'clustering.sinkhorn=none'],
    ['train.batch=1', 'loss.type=pixel'],
    ['train.batch=1', 'loss.type=direct'],
    ['train.batch=8', 'engine.micro_batch=1'],
  ])('is not what %s %s has', (...sets) => {
    expect(() => checkLearning(config(...sets))).not.toThrow();
  });
});

describe('warnings before a run', () => {
  it('are none for the presets', () => {
    for (const preset of ['quickstart', 'fashion', 'vit-s-14', 'vit-l-14', 'ablation-vit-l-16'])
      expect(learningWarnings(loadConfig({ preset }).config)).toEqual([]);
  });

  it.each([
    [
      ['train.batch=16'],
      /train\.batch 16 is far below clustering\.prototypes 128.*at most 16, or clustering\.sinkhorn=standard/,
    ],
    [
      ['train.batch=1', 'clustering.sinkhorn=standard', 'clustering.prototypes=4096'],
      /the 64 patches of a batch are far below clustering\.prototypes 4096/,
    ],
    [['optim.momentum=1'], /the teacher stays as it began/],
    [['optim.momentum=0.999999'], /less than 1 % of its way/],
    [['optim.lr=0'], /the student stays as it began/],
    [['optim.clustering_lr=0'], /the prototypes stay random/],
    [['optim.warmup=1'], /makes all 300 steps warm-up/],
  ])('%s', (sets, message) => {
    const found = learningWarnings(config(...sets));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
    expect(found[0]).toMatch(/what helps: /);
  });

  it('do not speak of what the loss does not have', () => {
    expect(learningWarnings(config('loss.type=pixel', 'optim.momentum=1', 'optim.clustering_lr=0'))).toEqual(
      [],
    );
  });
});

describe('targets during a run', () => {
  const c = config('train.steps=100');
  it.each([
    [24, Math.log(128), false], // too early to tell
    [25, Math.log(128), true],
    [100, 0.981 * Math.log(128), true],
    [100, 0.93 * Math.log(128), false], // the iBOT arm of the committed study
    [100, null, false],
    [100, Number.NaN, false],
  ])('step %s, entropy %s', (step, entropy, said) => {
    expect(poorTargets(c, { step, targetEntropy: entropy }) !== undefined).toBe(said);
  });

  it('that have collapsed are told with what helps', () => {
    const health = { deadShare: 127 / 128, dominance: 128, positionInformation: 0 };
    const report = { step: 100, targetEntropy: 0.1, health };
    expect(poorTargets(c, report)).toMatch(
      /targets have collapsed: 1 of 128 prototypes in use; what helps: /,
    );
    expect(poorTargets(c, { ...report, step: 10 })).toBeUndefined();
    expect(poorTargets(c, { ...report, health: { spread: 0.001, positionShare: 1 } })).toMatch(
      /vary by 0\.10 %/,
    );
    expect(poorTargets(c, { ...report, health: { deadShare: 0.5 } })).toBeUndefined();
  });

  it('and a gradient that was 0 throughout are in the notes of the record', () => {
    const lines = [1, 100].map((step) => ({ step, target_entropy: Math.log(128), gradient_norm: 0 }));
    expect(learningNotes(c, lines)).toEqual([
      expect.stringMatching(/^the targets are near uniform: their entropy is 4\.852 of at most ln 128/),
      expect.stringMatching(/^the gradient was 0/),
    ]);
    expect(learningNotes(c, [{ step: 100, target_entropy: 1, gradient_norm: 0.1 }])).toEqual([]);
  });
});

it('a run that cannot fit is refused before anything is allocated', () => {
  const huge = config('model.width=65536', 'model.heads=64', 'model.depth=1000');
  expect(() => checkMemory(huge)).toThrow(/needs at least .* GiB of memory .* this machine has/);
  expect(() => checkMemory(config(), 2 ** 30)).not.toThrow();
  expect(() => checkMemory(config('train.batch=100000'), 2 ** 30)).toThrow(
    /for the pixels of train\.batch 100000/,
  );
});
