// A run that its health ends: where it stops, what it leaves, and that a kill in between changes nothing.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { StepReport } from '../../src/pretrain/metrics.js';
import { metricsOf, smallRun, temporaryFolder } from './small_run.js';

const folder = temporaryFolder();
const sets = ['health.every=3', 'checkpoint.every=4', 'train.steps=20'];
/** At the first look from step 8 on: 9. */
const stopWhen = (r: StepReport): string | undefined => (r.step >= 8 ? `enough at ${r.step}` : undefined);

it('ends at the first look that says so, with a checkpoint of that step', async () => {
  const result = await smallRun(join(folder, 'a'), sets, { stopWhen });
  expect(result).toMatchObject({ step: 9, steps: 20, stopped: 'enough at 9' });
  expect(result.checkpoint).toMatch(/step-00000009\.safetensors$/);
  expect(existsSync(result.checkpoint)).toBe(true);
  expect(metricsOf(join(folder, 'a')).at(-1)!.step).toBe(9);
});

it('says so again when it was killed after that checkpoint, and trains no further', async () => {
  const again = await smallRun(join(folder, 'a'), sets, { stopWhen });
  expect(again).toMatchObject({ step: 9, stopped: 'enough at 9', resumedFrom: 9 });
  expect(metricsOf(join(folder, 'a')).at(-1)!.step).toBe(9);
});

it('ends in the same bytes when it was interrupted before', async () => {
  const stop = new AbortController();
  const onStep = (r: StepReport): void => {
    if (r.step === 6) stop.abort();
  };
  await expect(smallRun(join(folder, 'b'), sets, { stopWhen, signal: stop.signal, onStep })).rejects.toThrow(
    /interrupted/,
  );
  const result = await smallRun(join(folder, 'b'), sets, { stopWhen });
  expect(result).toMatchObject({ step: 9, stopped: 'enough at 9', resumedFrom: 6 });
  const bytes = (name: string): Buffer =>
    readFileSync(join(folder, name, 'checkpoints/step-00000009.safetensors'));
  expect(bytes('b').equals(bytes('a'))).toBe(true);
});

it.each([
  ['pixel', ['clustering_loss', 'target_entropy', 'dead_share', 'spread'], []],
  ['direct', ['clustering_loss', 'target_entropy', 'dead_share'], ['spread', 'position_share']],
  ['ibot', ['clustering_loss', 'spread'], ['target_entropy', 'dead_share']],
] as const)('loss %s: metrics hold the figures that it has, and no others', async (loss, absent, present) => {
  const result = await smallRun(join(folder, loss), [`loss.type=${loss}`, 'train.steps=3', 'health.every=3']);
  const last = metricsOf(join(folder, loss)).at(-1)!;
  for (const key of absent) expect(key in last, key).toBe(false);
  for (const key of present) expect(last[key], key).toBeGreaterThanOrEqual(0);
  expect(result.clusteringLoss).toBeNull();
  expect(Number.isFinite(last.capi_loss)).toBe(true);
  expect(result.stopped).toBeNull();
});
