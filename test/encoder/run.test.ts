// Encoders of a run: folder and checkpoint, EMA and student, other resolutions, and a checkpoint away from its run.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../src/checkpoint/file.js';
import type { FrozenEncoder } from '../../src/encoder/frozen.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { encoderProgram } from '../../src/encoder/program.js';
import { checkpointEncoder } from '../../src/encoder/run_weights.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { DataError } from '../../src/errors.js';
import { initialParameters, STUDENT } from '../../src/model/parameters.js';
import { modelSizes } from '../../src/model/sizes.js';
import { smallRun, temporaryFolder } from '../pretrain/small_run.js';
import { engines } from '../support/engines.js';
import { relativeError } from '../support/golden.js';
import { randomImages } from './support.js';

const folder = temporaryFolder();
const run = join(folder, 'run');
const images = randomImages(2, 16, 16);
const engine = await engines[0]!.open();
const open = (spec: string, more: object = {}) => openFrozen(spec, { engine, batch: 2, ...more });
let checkpoint = '';
beforeAll(async () => {
  checkpoint = (await smallRun(run)).checkpoint;
});

const parts = ['global', 'registers', 'patches'] as const;
async function features(encoder: FrozenEncoder, bytes = images) {
  const out = await encoder.run(bytes);
  await encoder.close();
  return out;
}

describe('a run', () => {
  it('opens its newest checkpoint, EMA by default', async () => {
    const [a, b, student] = [
      await open(run),
      await open(checkpoint),
      await open(run, { weights: 'student' }),
    ];
    expect([a.name, b.name, student.name]).toEqual([checkpoint, checkpoint, `${checkpoint}?weights=student`]);
    expect(b.weightsHash).toBe(a.weightsHash);
    expect(student.weightsHash).not.toBe(a.weightsHash);
    expect((await open(student.name)).weightsHash).toBe(student.weightsHash);
    const { tensors } = await readCheckpoint(checkpoint);
    const loaded = await checkpointEncoder(run, 'student');
    expect(loaded.weights['backbone.mask_token']).toEqual(tensors.get('student.backbone.mask_token')!.data);
  });

  it('gives with weights built in what it gives with weights as state', async () => {
    const source = await checkpointEncoder(run);
    const encoder = await open(run);
    const { mean, std } = encoder;
    const sizes = modelSizes(source.config);
    for (const [i, e] of engines.slice(0, 2).entries()) {
      const executable = await (await e.open()).load(
        encoderProgram(sizes, { batch: 2, mean: [...mean], std: [...std] }),
      );
      executable.setState(source.weights);
      const want = await executable.run({ images });
      const got = await features(await openFrozen(run, { engine: await e.open(), batch: 2 }));
      for (const part of parts) {
        // The eager engine runs the same ops; the other folds constants and packs weights, which changes the rounding.
        const error = relativeError(got[part]!, want[part === 'patches' ? 'feature_map' : part]!);
        expect(error, `${e.name} ${part}`).toBeLessThan(i === 0 ? 1e-6 : 1e-12);
      }
    }
    await encoder.close();
  });

  it('gives each image the same features in any company', async () => {
    const one = await features(await open(run, { batch: 1 }), images.slice(images.length / 2));
    const two = await features(await open(run));
    for (const part of parts) {
      const second = two[part]!.slice(two[part]!.length / 2);
      expect(relativeError(one[part]!, second), part).toBeLessThan(1e-6); // products of other sizes round differently
    }
  });

  it('runs at any size that the patch divides, and refuses others and wrong batches', async () => {
    const wide = await open(`${run}?size=24x8`);
    expect([wide.size, wide.grid, wide.name]).toEqual([
      { height: 24, width: 8 },
      { rows: 6, columns: 2 },
      `${checkpoint}?size=24x8`,
    ]);
    const out = await features(wide, randomImages(2, 24, 8));
    expect(out.patches.length).toBe(2 * 12 * wide.patchWidth);
    expect(out.patches.every(Number.isFinite)).toBe(true);
    await expect(open(run, { size: { height: 16, width: 18 } })).rejects.toThrow(
      /the width 18 is not divisible by its patch 4; nearest that fits: 20/,
    );
    const encoder = await open(run);
    await expect(encoder.run(images.subarray(1))).rejects.toThrow(/images hold 1535 bytes, a batch has 1536/);
    await expect(open(`${run}?weights=teacher`)).rejects.toThrow(/weights=teacher; accepted: ema, student/);
    await expect(open(`${run}?preset=quickstart`)).rejects.toThrow(/a run has its own config/);
  });

  it('lends its config to random:, which is the run before its first step', async () => {
    const loaded = await loadEncoder(parseEncoderSpec(`random:${run}`));
    const { config } = await checkpointEncoder(run);
    const initial = initialParameters(modelSizes(config), config.seed);
    for (const [name, values] of Object.entries(loaded.weights)) {
      expect(values, name).toEqual(initial[STUDENT + name]);
    }
    const random = await open(`random:${run}`);
    expect([random.kind, random.name]).toEqual(['random', `random:${run}?seed=${config.seed}`]);
    expect(random.weightsHash).not.toBe((await open(run)).weightsHash);
    await random.close();
  });

  it('can lose its folder: a checkpoint knows its own sizes', async () => {
    const away = join(folder, 'away.safetensors');
    copyFileSync(checkpoint, away);
    expect((await open(away)).weightsHash).toBe((await open(run)).weightsHash);
    await expect(open(folder)).rejects.toThrow(DataError);
  });
});
