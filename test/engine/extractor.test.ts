// An engine that trains beside one that extracts, with the CPU provider in CUDA's place; and what is said where CUDA's libraries are missing.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { engineText, withExtractor } from '../../src/engine/extractor.js';
import { cudaLibraries, OnnxEngine } from '../../src/engine/onnx/session.js';
import type { Engine } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { cudaEngine, openEngine } from '../../src/engine/select.js';
import { EngineError } from '../../src/errors.js';
import { evaluate } from '../../src/probes/evaluate.js';
import { environment } from '../../src/results/environment.js';
import { stepCase, variants } from './configs.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-extractor-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const onnx = (): OnnxEngine => new OnnxEngine({ threads: 1 });

/** The engine with a list of what is loaded on it. */
function heard(engine: Engine): { engine: Engine; loaded: string[] } {
  const loaded: string[] = [];
  const load: Engine['load'] = (program, fixed) => {
    loaded.push(program.name);
    return engine.load(program, fixed);
  };
  const { name, device, version } = engine;
  return { engine: { name, device, version, load }, loaded };
}

describe('an engine with an extractor', () => {
  it('bears the name of the one that trains, and says both', () => {
    const engine = withExtractor(referenceEngine(), onnx());
    expect(engineText(engine)).toBe('reference on cpu, features by onnx on cpu');
    expect(engineText(onnx())).toBe('onnx on cpu');
    expect(environment(engine)).toMatchObject({
      engine: 'reference',
      extractor: { name: 'onnx', device: 'cpu' },
    });
    expect(environment(onnx())).not.toHaveProperty('extractor');
  });

  it('runs a frozen encoder on the extractor, with the same features, and a step on the other', async () => {
    const [trainer, extractor] = [heard(referenceEngine()), heard(onnx())];
    const both = withExtractor(trainer.engine, extractor.engine);
    const images = new Uint8Array(2 * 64 * 64 * 3).map((_, i) => (i * 7919) % 251);
    const features = [];
    for (const engine of [both, onnx()]) {
      const encoder = await openFrozen('random:quickstart?seed=1', { engine, batch: 2 });
      features.push(await encoder.run(images));
      await encoder.close();
    }
    expect(features[0]).toEqual(features[1]);
    expect(extractor.loaded).toEqual([expect.stringContaining('capi_encoder')]);
    expect(trainer.loaded).toEqual([]);
    const { program } = stepCase(variants[0]!);
    await (await both.load(program)).dispose();
    expect(trainer.loaded).toEqual([program.name]);
  });

  it('evaluates as one engine does, and the record names both', async () => {
    const data = 'synthetic:scenes?count=40&size=64&difficulty=0';
    const scores = [];
    for (const [name, engine] of [
      ['one', onnx()],
      ['two', withExtractor(onnx(), onnx())],
    ] as const) {
      const [done] = await evaluate({
        task: 'seg',
        engine,
        encoders: ['random:quickstart?seed=1'],
        train: data,
        tests: [data],
        protocol: 'quickstart',
        weights: 'ema',
        floors: false,
        memory: 1e9,
        limit: 12,
        seed: 0,
        out: join(folder, name, 'evals'),
        store: join(folder, name, 'store'),
        force: false,
      });
      scores.push(
        done!.record.results.map(({ head, metric, convention, value }) => [head, metric, convention, value]),
      );
      const { card } = done!.record.protocol;
      if (name === 'two') expect(card.extractor).toEqual({ name: 'onnx', device: 'cpu' });
      else expect(card).not.toHaveProperty('extractor');
    }
    expect(scores[0]!.length).toBeGreaterThan(3);
    expect(scores[1]).toEqual(scores[0]);
  });
});

describe('CUDA', () => {
  it.skipIf(cudaLibraries().missing.length === 0)(
    'says which libraries of onnxruntime are missing, and the line that gets them',
    async () => {
      const found = await cudaEngine(1);
      expect(found).toMatchObject({
        failure: expect.stringContaining('lacks libonnxruntime_providers_cuda.so'),
      });
      const open = openEngine({ name: 'onnx', device: 'cuda', threads: 1, purpose: 'evaluate' });
      await expect(open).rejects.toThrow(EngineError);
      await expect(open).rejects.toThrow('scripts/install-cuda-provider.sh');
      for (const name of ['onnx', 'auto'] as const) {
        const trainer = openEngine({ name, device: 'cuda', threads: 1 });
        await expect(trainer).rejects.toThrow('scripts/install-cuda-provider.sh');
      }
      expect(engineText(await openEngine({ name: 'auto', device: 'auto', threads: 1 }))).not.toMatch(
        'features by',
      );
    },
  );
});
