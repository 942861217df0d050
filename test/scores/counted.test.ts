// What stands behind a score: values of one metric that count in several ways, and samples that have none.
import { describe, expect, it } from 'vitest';
import {
  type Counted,
  compactCounts,
  countedOf,
  countOf,
  intervalsOf,
  pairedDifferences,
  scoreOf,
} from '../../src/scores/counted.js';

const none = Number.NaN;
const counted = (easy: number[], hard: number[]): Counted => ({
  samples: [0, 2, 3, 7],
  values: { 'map easy': easy, 'map hard': hard },
});
const of = (convention: string) => ({ task: 'cls', metric: 'map', convention }) as const;
const all = counted([0.5, none, 1, 0], [0.25, 0.5, 0.75, 1]);

describe('values', () => {
  it('of each convention are those of its samples alone', () => {
    expect([scoreOf(of('easy'), all, 0), countOf(of('easy'), all)]).toEqual([0.5, 3]);
    expect([scoreOf(of('hard'), all, 0), countOf(of('hard'), all)]).toEqual([0.625, 4]);
    expect(scoreOf(of('medium'), all, 0)).toBeUndefined();
    const three: Counted = { samples: [0, 3, 7], values: { map: [0.5, 1, 0] } };
    expect(intervalsOf(all, 0)(of('easy'))).toEqual(intervalsOf(three, 0)(of('easy')));
  });

  it('are paired where both have one', () => {
    const other = counted([0.25, none, 0.5, none], [0.25, 0.5, 0.75, 1]);
    const difference = pairedDifferences(all, other, 0);
    expect(difference(of('easy')).value).toBeCloseTo(0.375, 12);
    expect(difference(of('hard')).value).toBe(0);
  });

  it('go through the compact form, those that are none too', () => {
    expect(
      countedOf({ test: 0, source: 's', head: 'h', ...JSON.parse(JSON.stringify(compactCounts(all))) }),
    ).toEqual(all);
  });
});
