// Health numbers against their definitions, computed the long way from joint probabilities.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { clusterHealth } from '../../src/pretrain/health.js';

/** Rows that sum to 1, some entries exactly 0. */
function randomUse(positions: number, k: number, seed: number): Float64Array {
  const random = stream(seed, 'use');
  const use = new Float64Array(positions * k);
  for (let n = 0; n < positions; n++) {
    const weights = random.fillUniform(new Float32Array(k), -0.3, 1).map((x) => Math.max(0, x) ** 4);
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let j = 0; j < k; j++) use[n * k + j] = weights[j]! / sum;
  }
  return use;
}

/** H(prototype) + H(position) - H(prototype, position), which equals the mutual information. */
function information(use: Float64Array, positions: number, k: number): number {
  const entropy = (p: number[]) => p.reduce((sum, x) => sum - (x > 0 ? x * Math.log(x) : 0), 0);
  const joint = [...use].map((p) => p / positions);
  const marginal = Array.from({ length: k }, (_, j) =>
    joint.reduce((sum, p, i) => sum + (i % k === j ? p : 0), 0),
  );
  return entropy(marginal) + Math.log(positions) - entropy(joint);
}

describe('cluster health', () => {
  it.each([1, 2, 3, 4])('agrees with the definitions on random use %i', (seed) => {
    const [positions, k] = [5 + seed, 40 * seed];
    const use = randomUse(positions, k, seed);
    const mean = Array.from({ length: k }, (_, j) => {
      let sum = 0;
      for (let n = 0; n < positions; n++) sum += use[n * k + j]!;
      return sum / positions;
    });
    const health = clusterHealth(use, positions);
    expect(health.deadShare).toBe(mean.filter((u) => u < 0.01 / k).length / k);
    expect(health.dominance).toBeCloseTo(k * Math.max(...mean), 10); // sums of doubles in another order
    expect(health.positionInformation).toBeCloseTo(information(use, positions, k), 10);
    expect(health.positionInformation).toBeGreaterThan(0.01);
  });

  it('is 0, 1 and 0 for even use', () => {
    const health = clusterHealth(new Float32Array(6 * 8).fill(1 / 8), 6);
    expect(health.deadShare).toBe(0);
    expect(health.dominance).toBeCloseTo(1, 6);
    expect(health.positionInformation).toBeCloseTo(0, 6);
  });

  it('shows a prototype for each position as ln N, and one for all as dominance K', () => {
    const [n, k] = [4, 16];
    const positional = new Float32Array(n * k);
    for (let i = 0; i < n; i++) positional[i * k + i] = 1;
    expect(clusterHealth(positional, n)).toEqual({
      deadShare: 12 / 16,
      dominance: 4,
      positionInformation: Math.log(4),
    });
    const single = new Float32Array(n * k);
    for (let i = 0; i < n; i++) single[i * k + 3] = 1;
    expect(clusterHealth(single, n)).toEqual({ deadShare: 15 / 16, dominance: 16, positionInformation: 0 });
  });
});
