// Holm's correction: p values of a table that hold together.

/**
 * Holm's step-down adjusted p values, in the order given: the k-th smallest of m is multiplied by m - k + 1, and none is below a smaller
 * one's. NaN stands for a comparison that was not made and does not count. Source: Holm 1979.
 */
export function holm(p: readonly number[]): number[] {
  const order = p.map((_, i) => i).filter((i) => !Number.isNaN(p[i]!));
  order.sort((a, b) => p[a]! - p[b]!);
  const adjusted = p.map(() => Number.NaN);
  let floor = 0;
  for (const [rank, i] of order.entries()) {
    floor = Math.max(floor, Math.min(1, (order.length - rank) * p[i]!));
    adjusted[i] = floor;
  }
  return adjusted;
}
