// The identity of a run: which settings it is made of, and how differences read.

import { describe, expect, it } from 'vitest';
import { identity, identityDifferences } from '../../src/config/identity.js';
import { loadConfig } from '../../src/config/index.js';
import { flatten, knownKeys, type Mapping } from '../../src/config/keys.js';

const of = (...sets: string[]) => identity(loadConfig({ sets }).config, { dataIdentity: 'd1' });

/** Another accepted value for each key, so that every key's place in or out of the identity is tried. */
function other(key: string, value: unknown): string {
  const special: Record<string, string> = {
    'model.predictor.type': 'self',
    'model.register_coordinates': 'zeros',
    'model.positions': 'learned',
    'masking.type': 'block',
    'clustering.sinkhorn': 'standard',
    'loss.type': 'ibot',
    'data.normalise': 'dataset',
    'engine.name': 'onnx',
    'engine.device': 'cpu',
    'precision.products': 'bfloat16',
    'model.predictor.drop_path': '0.5',
    'data.source': 'folder:x',
    evals: '[{task: seg, every: 5, train: a, test: b}]',
  };
  if (special[key] !== undefined) return special[key];
  if (typeof value === 'boolean') return String(!value);
  if (Array.isArray(value)) return JSON.stringify([value[0] / 2, value[1]]);
  if (typeof value === 'number')
    return Number.isInteger(value) && value > 1
      ? String(value + 1)
      : String(value < 1 && value > 0 ? value / 2 : value === 0 ? 1 : 1.5);
  return '1';
}

describe('identity', () => {
  it('changes with every setting but health, checkpoint, evals, decoding threads and the path of the data', () => {
    const base = of();
    const defaults = flatten(loadConfig().config as unknown as Mapping);
    const unmoved: string[] = [];
    for (const key of knownKeys()) {
      const value = other(key, defaults.get(key));
      const text = key === 'data.flip' || key === 'model.mlp_ratio' ? '1' : value;
      if (of(`${key}=${text}`).hash === base.hash) unmoved.push(key);
    }
    expect(unmoved).toEqual([
      ...['loss.mlp_layers', 'loss.mlp_hidden', 'loss.mlp_bottleneck', 'loss.huber_delta'], // of other losses
      'data.source',
      'engine.gpu',
      'engine.workers',
      'health.every',
      'health.max_bad_steps',
      'health.dead_share_warning',
      'checkpoint.every',
      'checkpoint.keep',
      'evals',
    ]);
  });

  it('counts the settings of a loss where that loss is used', () => {
    for (const [loss, key] of [
      ['ibot', 'loss.mlp_hidden'],
      ['capi-mlp', 'loss.mlp_layers'],
      ['direct', 'loss.huber_delta'],
    ]) {
      expect(of(`loss.type=${loss}`, `${key}=2`).canonical[key!]).toBe(2);
      expect(of(`loss.type=${loss}`, `${key}=2`).hash).not.toBe(of(`loss.type=${loss}`).hash);
      expect(key! in of().canonical).toBe(false);
    }
  });

  it('holds the identity of the data in place of its path', () => {
    const { config } = loadConfig();
    const a = identity(config, { dataIdentity: 'one' });
    const b = identity(config, { dataIdentity: 'two' });
    expect(a.canonical['data.source']).toBe('one');
    expect(identityDifferences(a.canonical, b.canonical)).toEqual(['data.source "one" -> "two"']);
  });

  it('does not depend on how a setting was written', () => {
    expect(of('optim.lr=0.001').hash).toBe(of('optim.lr=1.0e-3').hash);
    const normalise = (order: string) => of(`data.normalise=${order}`).hash;
    expect(normalise('{mean: [0,0,0], std: [1,1,1]}')).toBe(normalise('{std: [1,1,1], mean: [0,0,0]}'));
    expect(of().hash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('survives JSON, and differences name each key with both values', () => {
    const a = of('model.width=64');
    const stored = JSON.parse(JSON.stringify(a.canonical));
    expect(identityDifferences(stored, a.canonical)).toEqual([]);
    const b = of('model.width=128', 'engine.threads=2');
    expect(identityDifferences(stored, b.canonical)).toEqual([
      'engine.threads null -> 2',
      'model.width 64 -> 128',
    ]);
    delete stored['model.width'];
    expect(identityDifferences(stored, a.canonical)).toEqual(['model.width absent -> 64']);
  });
});
