// The random numbers of the image bootstrap, the same on every machine. Reports load no tensor library, hence a generator of their own.

/** Whole numbers below `n`, by the 32-bit generator "mulberry32" (T. Ettinger, public domain): ample for resampling images. */
export function draws(seed: number): (n: number) => number {
  let state = seed | 0;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n);
  };
}
