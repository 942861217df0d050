// Protocol files, feature sources, the split and the order of batches.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { stream } from '../../../src/base/random.js';
import {
  type ClassificationProtocol,
  classificationProtocolSchema,
  gridPoints,
} from '../../../src/probes/cls/protocol.js';
import { featureSources, SOURCE_NAMES, sourceFeatures } from '../../../src/probes/sources.js';
import { sampler, splitImages } from '../../../src/probes/split.js';

function protocol(name: string): ClassificationProtocol {
  const file = join(import.meta.dirname, '../../../benchmarks/protocols', `${name}.yaml`);
  return classificationProtocolSchema.parse(parse(readFileSync(file, 'utf8')).classification);
}

describe('protocol files', () => {
  it('official is the published one', () => {
    const { learning_rates, weight_decays, ...rest } = protocol('official');
    expect(learning_rates).toEqual([1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2]);
    expect(weight_decays).toEqual([5e-4, 1e-3, 5e-2]);
    expect(rest).toMatchObject({
      sources: ['global', 'average_patch', 'global+average_patch', 'patches'],
      features: 'augmented',
      validation_share: 0.1,
      steps: 12_500,
      warmup_steps: 1_250,
      betas: [0.9, 0.95],
      eps: 1e-8,
      init_std: 0.02,
    });
    expect(rest.batch / rest.reference_batch).toBe(4);
    const { image_size, shorter_side, crop_scale, crop_ratio, flip } = rest.transform;
    expect([image_size, Math.round(image_size! * shorter_side)]).toEqual([224, 256]);
    expect([crop_scale, crop_ratio, flip]).toEqual([[0.08, 1], [3 / 4, 4 / 3], 0.5]);
  });

  it('both have 30 points for each of 4 sources', () => {
    for (const name of ['official', 'quick']) {
      expect(gridPoints(protocol(name)).length * protocol(name).sources.length).toBe(120);
    }
  });

  it('the grid goes by rate, then decay', () => {
    expect(gridPoints({ learning_rates: [2, 1], weight_decays: [0, 3] })).toEqual([
      { learningRate: 2, weightDecay: 0 },
      { learningRate: 2, weightDecay: 3 },
      { learningRate: 1, weightDecay: 0 },
      { learningRate: 1, weightDecay: 3 },
    ]);
  });

  it.each([
    ['an unknown key', { wamup_steps: 3 }],
    ['a source that does not exist', { sources: ['cls'] }],
    ['an empty grid', { learning_rates: [] }],
    ['a rate twice', { learning_rates: [1e-3, 1e-3] }],
    ['no steps', { steps: 0 }],
    ['a share above a half', { validation_share: 0.9 }],
  ])('refuses %s', (_, change) => {
    expect(() => classificationProtocolSchema.parse({ ...protocol('quick'), ...change })).toThrow();
  });
});

describe('feature sources', () => {
  const encoder = {
    globalWidth: 3,
    patchWidth: 2,
    grid: { rows: 1, columns: 3 },
    registers: { count: 2, width: 2 },
  };
  // Two images and a padded third.
  const features = {
    global: Float32Array.of(1, 2, 3, 4, 5, 6, 0, 0, 0),
    patches: Float32Array.of(1, 10, 2, 20, 6, 60, 7, 70, 8, 80, 9, 90, 0, 0, 0, 0, 0, 0),
    registers: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0),
  };

  it('are those of the protocol', () => {
    const sources = featureSources(encoder, SOURCE_NAMES);
    const found = sourceFeatures(encoder, features, sources, 2);
    const shapes = Object.fromEntries(sources.map((s) => [s.name, [s.tokens, s.width]]));
    const rows = Object.fromEntries(Object.entries(found).map(([n, v]) => [n, [...v]]));
    expect(shapes).toEqual({
      global: [null, 3],
      average_patch: [null, 2],
      'global+average_patch': [null, 5],
      patches: [3, 2],
      average_register: [null, 2],
      concatenated_registers: [null, 4],
      registers: [2, 2],
    });
    expect(rows).toEqual({
      global: [1, 2, 3, 4, 5, 6],
      average_patch: [3, 30, 8, 80],
      'global+average_patch': [1, 2, 3, 3, 30, 4, 5, 6, 8, 80],
      patches: [1, 10, 2, 20, 6, 60, 7, 70, 8, 80, 9, 90],
      average_register: [2, 3, 6, 7],
      concatenated_registers: [1, 2, 3, 4, 5, 6, 7, 8],
      registers: [1, 2, 3, 4, 5, 6, 7, 8],
    });
  });

  it('leave out what an encoder lacks', () => {
    const plain = { ...encoder, globalWidth: null, registers: null };
    expect(featureSources(plain, SOURCE_NAMES).map((s) => s.name)).toEqual(['average_patch', 'patches']);
    const sources = featureSources(encoder, ['global']);
    expect(() => sourceFeatures(encoder, { patches: features.patches }, sources, 2)).toThrow(
      '2 images need 6 values of global, not 0',
    );
  });
});

describe('the split', () => {
  it('keeps round(0.9 n) images to train on, the same ones for the same seed', () => {
    const { train, validation } = splitImages(1005, 0.1, 42);
    expect([train.length, validation.length]).toEqual([905, 100]); // round(904.5)
    expect([...train, ...validation].sort((a, b) => a - b)).toEqual([...Array(1005).keys()]);
    expect([...train]).toEqual([...train].sort((a, b) => a - b));
    expect(splitImages(1005, 0.1, 42)).toEqual({ train, validation });
    expect(splitImages(1005, 0.1, 43).validation).not.toEqual(validation);
    // No region is preferred: the mean of 100 of 1005 places has a standard error of 28.
    expect(Math.abs(validation.reduce((a, b) => a + b, 0) / 100 - 502)).toBeLessThan(4 * 28);
    expect(() => splitImages(4, 0.1, 0)).toThrow(/4 training images leave 0 of them for selection/);
  });
});

describe('the sampler', () => {
  it('gives every sample once an epoch, across batches, at any step asked for', () => {
    const draw = sampler(10, 4, 1);
    const seen = [0, 1, 2, 3, 4].flatMap((step) => [...draw(step)]);
    for (const epoch of [seen.slice(0, 10), seen.slice(10)]) {
      expect([...epoch].sort((a, b) => a - b)).toEqual([...Array(10).keys()]);
    }
    expect(seen.slice(0, 10)).not.toEqual(seen.slice(10));
    expect([...sampler(10, 4, 1)(2)]).toEqual(seen.slice(8, 12));
    expect([...sampler(10, 4, 2)(0)]).not.toEqual(seen.slice(0, 4));
    const many = sampler(3, 8, stream(1, 'x').int(9));
    expect(many(0)).toHaveLength(8); // a batch larger than the set
  });
});
