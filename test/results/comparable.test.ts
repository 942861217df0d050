// Cells of an ablation are evaluated alike when their cards agree in all that is not the arm's own.
import { describe, expect, it } from 'vitest';
import type { CellRecord } from '../../src/results/cell.js';
import { protocolKey } from '../../src/results/comparable.js';

const input = {
  size: [32, 32],
  transform: 'squash',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};
const card = {
  task: 'seg',
  settings: { transform: { image_size: null } },
  input,
  features: ['patches'],
  limit: 12,
};
const cell = (change: object): CellRecord =>
  ({
    protocol: { name: 'quick', hash: 'whatever it was', card: { ...card, ...change } },
  }) as unknown as CellRecord;

describe('the protocol of a cell', () => {
  it.each([
    ['normalisation', { input: { ...input, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } }],
    ['image size', { input: { ...input, size: [64, 64] } }],
    ['feature sources', { features: ['patches', 'global'] }],
  ])('is the same with another %s', (_, change) => {
    expect(protocolKey(cell(change))).toBe(protocolKey(cell({})));
  });

  it.each([
    ['transform', { input: { ...input, transform: 'crop' } }],
    ['size that the protocol sets', { settings: { transform: { image_size: 64 } } }],
    ['limit', { limit: 13 }],
    ['split', { split: 'other' }],
  ])('is another with another %s', (_, change) => {
    expect(protocolKey(cell(change))).not.toBe(protocolKey(cell({})));
  });
});
