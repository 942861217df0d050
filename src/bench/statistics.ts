// Medians and ranges of alternating rounds, and ratios of what ran in the same round.

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

/** A median over rounds with the least and the greatest. */
export interface Spread {
  median: number;
  range: [number, number];
}

export const spread = (values: readonly number[]): Spread => ({
  median: rounded(median(values)),
  range: [rounded(Math.min(...values)), rounded(Math.max(...values))],
});

/** Five significant digits: more than any clock here gives. */
export const rounded = (x: number): number => Number(x.toPrecision(5));

/** Time of one over that of the other, round by round: above 1, ours is faster. */
export const ratios = (theirs: readonly number[], ours: readonly number[]): number[] =>
  theirs.map((ms, round) => rounded(ms / ours[round]!));
