// Rank correlation: whether two orderings of the same arms agree.

/** Ranks from 1, those of equal values their mean. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const out = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) out[order[i]!] = (from + to + 1) / 2;
    from = to;
  }
  return out;
}

/** Spearman's rho of pairs; NaN where one side is constant. Throws RangeError for lists of unlike lengths. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  samePairs(a, b);
  const [x, y] = [ranks(a), ranks(b)];
  const mean = (a.length + 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    xy += (x[i]! - mean) * (y[i]! - mean);
    xx += (x[i]! - mean) ** 2;
    yy += (y[i]! - mean) ** 2;
  }
  return xy / Math.sqrt(xx * yy);
}

/** Kendall's tau-b of pairs, which allows for ties; NaN where one side is constant. Throws RangeError for lists of unlike lengths. */
export function kendall(a: readonly number[], b: readonly number[]): number {
  samePairs(a, b);
  let [agreement, ofA, ofB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const x = Math.sign(a[i]! - a[j]!);
      const y = Math.sign(b[i]! - b[j]!);
      agreement += x * y;
      ofA += x * x;
      ofB += y * y;
    }
  }
  return agreement / Math.sqrt(ofA * ofB);
}

function samePairs(a: readonly number[], b: readonly number[]): void {
  if (a.length !== b.length) throw new RangeError(`${a.length} values cannot be paired with ${b.length}`);
}
