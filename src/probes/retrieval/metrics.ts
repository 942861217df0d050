// What a ranking is worth: average precision, recall and precision at k, of the ranks at which the relevant images stand.

/**
 * Ranks of the positives of one query in the database sorted by falling similarity, from 0 and ascending; of equal similarities the smaller
 * index comes first. Junk is taken out of the ranking: it moves nothing back.
 * @param similarities [database]
 */
export function ranksOf(
  similarities: ArrayLike<number>,
  positives: ArrayLike<number>,
  junk: ArrayLike<number>,
): Int32Array {
  const order = Int32Array.from(positives).sort((a, b) => similarities[b]! - similarities[a]! || a - b);
  const before = new Int32Array(order.length + 1);
  // Counts an image at the first of the positives that it stands before.
  const count = (image: number, times: number): void => {
    const own = similarities[image]!;
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = order[middle]!;
      const stands = similarities[other]!;
      if (own > stands || (own === stands && image < other)) high = middle;
      else low = middle + 1;
    }
    before[low]! += times;
  };
  for (let image = 0; image < similarities.length; image++) count(image, 1);
  for (let i = 0; i < junk.length; i++) count(junk[i]!, -1);
  let sum = 0;
  return before.subarray(0, order.length).map((here) => {
    sum += here;
    return sum;
  });
}

/** Mean of the precisions at the ranks of the positives. */
export const averagePrecision = (ranks: Int32Array): number =>
  meanOver(ranks, (rank, found) => (found + 1) / (rank + 1));

/**
 * The area under precision over recall by trapezoids, as the Oxford and Paris benchmarks have it: each positive adds the mean of the precisions
 * before and at it. Source: Philbin et al., CVPR 2007; Radenovic et al., CVPR 2018.
 */
export const trapezoidPrecision = (ranks: Int32Array): number =>
  meanOver(ranks, (rank, found) => ((rank === 0 ? 1 : found / rank) + (found + 1) / (rank + 1)) / 2);

function meanOver(ranks: Int32Array, value: (rank: number, found: number) => number): number {
  let sum = 0;
  for (let found = 0; found < ranks.length; found++) sum += value(ranks[found]!, found);
  return sum / ranks.length;
}

/** 1 where any of the first k is a positive, as metric learning counts (Jegou et al., PAMI 2011): not the share of the positives. */
export const recallAt = (ranks: Int32Array, k: number): number => (ranks[0]! < k ? 1 : 0);

/** Share of positives among the first k, or among all down to the last positive where that is nearer. Source: Radenovic et al., CVPR 2018. */
export function precisionAt(ranks: Int32Array, k: number): number {
  const first = Math.min(k, ranks.at(-1)! + 1);
  return ranks.filter((rank) => rank < first).length / first;
}
