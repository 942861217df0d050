// Seeded random streams: a counter-based generator (Philox4x32-10) addressed by (seed, keys), so that a draw depends on its name, never on what ran before.

/**
 * One block of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * Writes four 32-bit words to `out` from the counter (c0..c3) and the key (k0, k1). Public for its known-answer test.
 */
export function philox4x32(
  out: Int32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; ; round++) {
    const lo0 = Math.imul(c0, 0xd2511f53);
    const lo1 = Math.imul(c2, 0xcd9e8d57);
    const hi0 = highWord(c0, 0x1f53, 0xd251);
    const hi1 = highWord(c2, 0x8d57, 0xcd9e);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    if (round === 9) break;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Upper 32 bits of the unsigned product of `a` and the number whose 16-bit halves are `b0` (low) and `b1` (high). */
function highWord(a: number, b0: number, b1: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const t = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) | 0;
  const u = (Math.imul(a0, b1) + (t & 0xffff)) | 0;
  return (Math.imul(a1, b1) + (t >>> 16) + (u >>> 16)) | 0;
}

const SPAN = 2 ** 32;

/** A stream of random numbers. Two streams with the same address give the same numbers; it is not for cryptography. */
export class Random {
  private readonly words = new Int32Array(4);
  private used = 4;
  private block = 0;
  private spareNormal = Number.NaN;

  /** Use `stream`, which derives the address (four 32-bit words) from a seed and keys. */
  constructor(
    private readonly k0: number,
    private readonly k1: number,
    private readonly c2: number,
    private readonly c3: number,
  ) {}

  /** The next 32 random bits, as an integer in [0, 2^32). */
  bits(): number {
    if (this.used === 4) {
      const high = Math.floor(this.block / SPAN);
      philox4x32(this.words, this.block | 0, high, this.c2, this.c3, this.k0, this.k1);
      this.block++;
      this.used = 0;
    }
    return this.words[this.used++]! >>> 0;
  }

  /** Uniform in [0, 1), a multiple of 2^-32. */
  next(): number {
    return this.bits() / SPAN;
  }

  /** Uniform in [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** Unbiased integer in [0, n), for 1 <= n <= 2^32. Throws RangeError outside of it. */
  int(n: number): number {
    if (!(n >= 1 && n <= SPAN && Number.isInteger(n))) {
      throw new RangeError(`Random.int needs an integer from 1 to 2^32, got ${n}`);
    }
    let draw = this.bits();
    if (n === SPAN) return draw;
    // Lemire's multiplication method (ACM TOMACS 2019): the upper word of draw * n, redrawn where some results would be favoured.
    let low = Math.imul(draw, n) >>> 0;
    if (low < n) {
      const threshold = (SPAN - n) % n;
      while (low < threshold) {
        draw = this.bits();
        low = Math.imul(draw, n) >>> 0;
      }
    }
    return highWord(draw, n & 0xffff, n >>> 16) >>> 0;
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    const spare = this.spareNormal;
    if (!Number.isNaN(spare)) {
      this.spareNormal = Number.NaN;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log((this.bits() + 1) / SPAN));
    const angle = 2 * Math.PI * this.next();
    this.spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Permutes `items` in place, each order equally likely (Fisher-Yates), and returns it. */
  shuffle<T extends { readonly length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const held = items[i];
      items[i] = items[j];
      items[j] = held;
    }
    return items;
  }

  /** `k` distinct integers of [0, n) in random order, each ordered choice equally likely. Throws RangeError if k > n. */
  sample(n: number, k: number): Int32Array {
    if (!(k >= 0 && k <= n))
      throw new RangeError(`Random.sample cannot take ${k} distinct values out of ${n}`);
    const chosen = new Int32Array(k);
    const moved = new Map<number, number>(); // the touched part of a virtual [0, 1, ..., n-1]
    for (let i = 0; i < k; i++) {
      const j = i + this.int(n - i);
      chosen[i] = moved.get(j) ?? j;
      moved.set(j, moved.get(i) ?? i);
    }
    return chosen;
  }

  /** Fills `out` with normal values of mean 0 and standard deviation `std`; returns it. */
  fillNormal(out: Float32Array, std = 1): Float32Array {
    for (let i = 0; i < out.length; i++) out[i] = this.normal() * std;
    return out;
  }

  /** Fills `out` with uniform values of [low, high) (rounding to float32 may reach `high`); returns it. */
  fillUniform(out: Float32Array, low = 0, high = 1): Float32Array {
    for (let i = 0; i < out.length; i++) out[i] = this.uniform(low, high);
    return out;
  }
}

const NUMBER = 1;
const STRING = 2;
const asFloat = new Float64Array(1);
const asWords = new Int32Array(asFloat.buffer);

/**
 * The stream addressed by `seed` and `keys`, for example `stream(seed, 'masks', step, image)`. Keys are read in order and with their type:
 * `1` and `'1'`, or `('a', 'b')` and `('ab')`, address different streams. Numbers may be any finite float64. Throws RangeError for NaN and infinity.
 */
export function stream(seed: number, ...keys: (number | string)[]): Random {
  const state = new Int32Array(4);
  absorbKey(state, seed);
  for (const key of keys) absorbKey(state, key);
  return new Random(state[0]!, state[1]!, state[2]!, state[3]!);
}

function absorbKey(state: Int32Array, key: number | string): void {
  if (typeof key === 'number') {
    if (!Number.isFinite(key)) throw new RangeError(`A random stream cannot be addressed by ${key}`);
    asFloat[0] = key === 0 ? 0 : key; // -0 is 0
    absorb(state, NUMBER, asWords[0]!, asWords[1]!);
    return;
  }
  absorb(state, STRING, key.length, 0);
  for (let i = 0; i < key.length; i += 2) {
    absorb(state, STRING, key.charCodeAt(i), i + 1 < key.length ? key.charCodeAt(i + 1) : 0);
  }
}

/** Folds (tag, a, b) into the four words of `state`: the generator itself is the mixing function (Davies-Meyer). */
function absorb(state: Int32Array, tag: number, a: number, b: number): void {
  const s0 = state[0]!;
  const s1 = state[1]!;
  const s2 = state[2]!;
  const s3 = state[3]!;
  philox4x32(state, s0, s1, s2, s3 ^ tag, a, b);
  state[0]! ^= s0;
  state[1]! ^= s1;
  state[2]! ^= s2;
  state[3]! ^= s3;
}

/**
 * Whole numbers below `n`, by the 32-bit generator "mulberry32" (T. Ettinger, public domain): the resamples of images in reports of ablations,
 * whose printed intervals it has decided from the first one on. Everything else draws from `stream`.
 */
export function reportDraws(seed: number): (n: number) => number {
  let state = seed | 0;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n);
  };
}
