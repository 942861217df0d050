// What says that clustering is alive: prototype use, and whether clusters encode position rather than content.

export interface Health {
  /** Share of prototypes with under 1 % of the uniform probability. */
  deadShare: number;
  /** Largest mean probability of one prototype, times K: 1 when all are used evenly, K when one takes all. */
  dominance: number;
  /** Mutual information between prototype and patch position in nats: high when clusters encode position (collapse). */
  positionInformation: number;
}

/** From the mean prototype probabilities at each position, [N, K] with rows that sum to 1. */
export function clusterHealth(positionUse: ArrayLike<number>, positions: number): Health {
  const k = positionUse.length / positions;
  const use = new Float64Array(k);
  for (let n = 0; n < positions; n++) {
    for (let j = 0; j < k; j++) use[j]! += positionUse[n * k + j]! / positions;
  }
  let dead = 0;
  let most = 0;
  for (const u of use) {
    if (u < 0.01 / k) dead++;
    most = Math.max(most, u);
  }
  let information = 0;
  for (let n = 0; n < positions; n++) {
    for (let j = 0; j < k; j++) {
      const p = positionUse[n * k + j]!;
      if (p > 0 && use[j]! > 0) information += (p / positions) * Math.log(p / use[j]!);
    }
  }
  return { deadShare: dead / k, dominance: most * k, positionInformation: Math.max(0, information) };
}
