// What says that the targets are alive: prototype use, spread of features, and whether they encode position rather than content.

/** How targets that are features stand, all in [0, 1]. */
export interface FeatureHealth {
  /** Variance of the targets over all patches, as a share of their mean square: 0 when all are the same vector. */
  spread: number;
  /** Share of that variance that lies between the mean targets of the positions: near 1 when targets encode position. */
  positionShare: number;
}

/** From the mean target of each position [N, D] and the mean square of all entries. */
export function featureHealth(
  positionMean: ArrayLike<number>,
  meanSquare: number,
  positions: number,
): FeatureHealth {
  const width = positionMean.length / positions;
  let [grand, between] = [0, 0];
  for (let d = 0; d < width; d++) {
    let mean = 0;
    for (let n = 0; n < positions; n++) mean += positionMean[n * width + d]! / positions;
    for (let n = 0; n < positions; n++) {
      between += (positionMean[n * width + d]! - mean) ** 2 / (positions * width);
    }
    grand += mean ** 2 / width;
  }
  const variance = Math.max(0, meanSquare - grand);
  return {
    spread: meanSquare > 0 ? variance / meanSquare : 0,
    positionShare: variance > 0 ? Math.min(1, between / variance) : 0,
  };
}

export interface ClusterHealth {
  /** Share of prototypes with under 1 % of the uniform probability. */
  deadShare: number;
  /** Largest mean probability of one prototype, times K: 1 when all are used evenly, K when one takes all. */
  dominance: number;
  /** Mutual information between prototype and patch position in nats: high when clusters encode position (collapse). */
  positionInformation: number;
}

/** From the mean prototype probabilities at each position, [N, K] with rows that sum to 1. */
export function clusterHealth(positionUse: ArrayLike<number>, positions: number): ClusterHealth {
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

/** Of the outputs of a step, whichever its loss has; undefined for pixels. */
export function healthOf(
  out: Record<string, ArrayLike<number>>,
  positions: number,
): Partial<ClusterHealth & FeatureHealth> | undefined {
  if (out.position_use) return clusterHealth(out.position_use, positions);
  return out.position_mean ? featureHealth(out.position_mean, out.mean_square![0]!, positions) : undefined;
}

export type Health = Partial<ClusterHealth & FeatureHealth>;
