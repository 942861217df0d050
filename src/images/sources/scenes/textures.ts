// Textures of the generated pictures: fields of values in 0..1, the colours put on them, and whole backgrounds.

import { type Random, stream } from '../../../base/random.js';

/** Red, green and blue in 0..255. */
export type Colour = [number, number, number];

/** Regular textures, each told from the others by its form at any colour, phase and turn. */
export const PATTERNS = ['stripes', 'checks', 'dots'] as const;
export type Pattern = (typeof PATTERNS)[number];

const TABLE = 4096;
const SINE = Float32Array.from({ length: TABLE }, (_, i) => Math.sin((2 * Math.PI * i) / TABLE));
const NOISE_BITS = 16;
const UNIFORM = stream(0, 'texture table').fillUniform(new Float32Array(1 << NOISE_BITS));
const NORMAL = stream(0, 'noise table').fillNormal(new Float32Array(1 << NOISE_BITS));
const NOISE_MASK = (1 << NOISE_BITS) - 1;

/** Sine of `turns` (1 is a full turn) from a table. */
function sineOf(turns: number): number {
  return SINE[((turns - Math.floor(turns)) * TABLE) & (TABLE - 1)]!;
}

/** Value in 0..1 of a pattern at (u, v), counted in periods; edges are about a sixth of a period wide. */
export function patternAt(pattern: Pattern, u: number, v: number): number {
  let wave: number;
  if (pattern === 'stripes') wave = sineOf(u);
  else if (pattern === 'checks') wave = 1.5 * sineOf(u * 0.6) * sineOf(v * 0.6);
  else wave = sineOf(u) + sineOf(v) - 0.7;
  const value = 0.5 + 1.5 * wave;
  return Math.max(0, Math.min(1, value));
}

/** How a pattern lies on the picture: u = ux x + uy y + u0 and v likewise, in periods, x and y in pixels. */
export interface Frame {
  ux: number;
  uy: number;
  u0: number;
  vx: number;
  vy: number;
  v0: number;
}

/** A frame with a period of `period` pixels, turned and shifted at random. */
export function randomFrame(random: Random, period: number): Frame {
  const angle = random.uniform(0, 2 * Math.PI);
  const c = Math.cos(angle) / period;
  const s = Math.sin(angle) / period;
  return { ux: c, uy: s, u0: random.next(), vx: -s, vy: c, v0: random.next() };
}

/** Fills `out` [size, size] with `pattern`. */
export function fillPattern(out: Float32Array, size: number, pattern: Pattern, frame: Frame): void {
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      const u = frame.ux * x + frame.uy * y + frame.u0;
      const v = frame.vx * x + frame.vy * y + frame.v0;
      out[i] = patternAt(pattern, u, v);
    }
  }
}

/** Fills `out` [size, size] with octaves of smooth noise, the coarsest with `cells` cells across; each octave has `gain` times the weight of the one before. */
export function fillNoise(
  out: Float32Array,
  size: number,
  random: Random,
  cells: number,
  octaves: number,
  gain: number,
): void {
  let total = 0;
  let weight = 1;
  for (let o = 0; o < octaves; o++) {
    total += weight;
    weight *= gain;
  }
  out.fill(0);
  weight = 1 / total;
  for (let o = 0; o < octaves; o++) {
    addNoise(out, size, random, Math.min(cells * 2 ** o, size / 2), weight);
    weight *= gain;
  }
}

/** Adds one octave: random lattice values, joined by smoothstep. */
function addNoise(out: Float32Array, size: number, random: Random, cells: number, weight: number): void {
  const corners = Math.ceil(cells) + 2;
  const offset = random.bits() & NOISE_MASK;
  const shiftX = random.next();
  const shiftY = random.next();
  const share = new Float32Array(size); // how far each column has come through its cell
  const cellEnd = new Int32Array(corners).fill(size); // the column at which each cell ends
  for (let x = size - 1; x >= 0; x--) {
    const position = (x * cells) / size + shiftX;
    const cell = Math.floor(position);
    share[x] = smoothstep(position - cell);
    if (cell > 0) cellEnd[cell - 1] = x;
  }
  const line = new Float32Array(corners); // the lattice, interpolated down to this row
  for (let y = 0, i = 0; y < size; y++) {
    const position = (y * cells) / size + shiftY;
    const row = Math.floor(position);
    const down = smoothstep(position - row);
    const upper = offset + row * corners;
    for (let k = 0; k < corners; k++) {
      const a = UNIFORM[(upper + k) & NOISE_MASK]!;
      const b = UNIFORM[(upper + corners + k) & NOISE_MASK]!;
      line[k] = weight * (a + (b - a) * down);
    }
    for (let cell = 0, x = 0; x < size; cell++) {
      const a = line[cell]!;
      const rise = line[cell + 1]! - a;
      for (const end = cellEnd[cell]!; x < end; x++, i++) out[i] = out[i]! + a + rise * share[x]!;
    }
  }
}

function smoothstep(t: number): number {
  return t * t * (3 - 2 * t);
}

/** Fills `out` [size, size] with a straight ramp from one side to the other, in a random direction. */
export function fillGradient(out: Float32Array, size: number, random: Random): void {
  const angle = random.uniform(0, 2 * Math.PI);
  const dx = Math.cos(angle);
  const dy = Math.sin(angle);
  const reach = ((Math.abs(dx) + Math.abs(dy)) * size) / 2;
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      out[i] = 0.5 + (0.5 * (dx * (x - size / 2) + dy * (y - size / 2))) / reach;
    }
  }
}

/** A colour of any hue, neither black nor white. */
export function randomColour(random: Random): Colour {
  const level = random.uniform(45, 210);
  const spread = random.uniform(0, 70);
  const channel = (): number => Math.min(250, Math.max(5, level + random.uniform(-spread, spread)));
  return [channel(), channel(), channel()];
}

/** Sum of the channels' absolute differences, 0..765. */
export function colourDistance(a: Colour, b: Colour): number {
  return Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) + Math.abs(a[2] - b[2]);
}

/** A random colour at least `distance` (see `colourDistance`) from `other`, or the farthest of eight. */
export function colourAwayFrom(random: Random, other: Colour, distance: number): Colour {
  let best = randomColour(random);
  for (let tries = 1; tries < 8 && colourDistance(best, other) < distance; tries++) {
    const next = randomColour(random);
    if (colourDistance(next, other) > colourDistance(best, other)) best = next;
  }
  return best;
}

/** A random colour about `distance` from `other`. */
export function colourNear(random: Random, other: Colour, distance: number): Colour {
  const channel = (value: number): number => {
    const step = random.uniform(0.4, 1) * (distance / 2);
    const up = value + step > 250 || (value - step >= 5 && random.next() < 0.5) ? -step : step;
    return Math.min(250, Math.max(5, value + up));
  };
  return [channel(other[0]), channel(other[1]), channel(other[2])];
}

/** How background fields are drawn: shares of patterned and of split backgrounds, and the strength of their contrast. */
export interface BackgroundStyle {
  /** Share of fields that are regular patterns (the rest is noise and ramps). */
  patterned: number;
  /** Share of pictures whose background has two parts with an uneven border. */
  split: number;
  /** Largest colour distance inside one field. */
  contrast: number;
}

/** Paints a random background over `pixels` [size, size, 3]. `scratch` holds three fields of [size, size]. */
export function paintBackground(
  pixels: Uint8ClampedArray,
  size: number,
  random: Random,
  style: BackgroundStyle,
  scratch: Float32Array,
): void {
  const area = size * size;
  const field = scratch.subarray(0, area);
  const parts = random.next() < style.split ? 2 : 1;
  let border: Float32Array | undefined;
  let first: Colour | undefined;
  for (let part = 0; part < parts; part++) {
    fillBackgroundField(field, size, random, style, scratch.subarray(area, 2 * area));
    const low = first ? colourAwayFrom(random, first, 60) : randomColour(random);
    const high = colourNear(random, low, random.uniform(0.25, 1) * style.contrast);
    first = low;
    if (part === 1) {
      border = scratch.subarray(area, 2 * area);
      drawBorder(border, size, random, scratch.subarray(2 * area));
    }
    paintField(pixels, field, low, high, border);
  }
}

function fillBackgroundField(
  field: Float32Array,
  size: number,
  random: Random,
  style: BackgroundStyle,
  second: Float32Array,
): void {
  const kind = random.next();
  if (kind < style.patterned) {
    const pattern = PATTERNS[random.int(PATTERNS.length)]!;
    fillPattern(field, size, pattern, randomFrame(random, randomPeriod(random, size)));
    return;
  }
  const cells = random.uniform(1.5, 8);
  fillNoise(field, size, random, cells, 1 + random.int(4), random.uniform(0.4, 0.8));
  if (random.next() < 0.35) {
    fillGradient(second, size, random);
    const share = random.uniform(0.4, 0.9);
    for (let i = 0; i < field.length; i++) field[i] = field[i]! + (second[i]! - field[i]!) * share;
  }
  for (let i = 0; i < field.length; i++) field[i] = 0.5 + 1.6 * (field[i]! - 0.5); // noise keeps near its middle
}

/** Period of a pattern in pixels: in proportion to the picture, but never too fine to be drawn. */
export function randomPeriod(random: Random, size: number): number {
  return Math.max(4, (random.uniform(5, 9) * size) / 64);
}

/** 0 on one side of a random, uneven line through the middle part of the picture, 1 on the other. */
function drawBorder(border: Float32Array, size: number, random: Random, noise: Float32Array): void {
  fillGradient(border, size, random);
  fillNoise(noise, size, random, 3, 2, 0.5);
  const middle = random.uniform(0.35, 0.65) + 0.15;
  const sharpness = size / 3;
  for (let i = 0; i < border.length; i++) {
    const value = 0.5 + (border[i]! + 0.3 * noise[i]! - middle) * sharpness;
    border[i] = Math.max(0, Math.min(1, value));
  }
}

function paintField(
  pixels: Uint8ClampedArray,
  field: Float32Array,
  low: Colour,
  high: Colour,
  cover?: Float32Array,
): void {
  const [r, g, b] = low;
  const dr = high[0] - r;
  const dg = high[1] - g;
  const db = high[2] - b;
  for (let i = 0, p = 0; i < field.length; i++, p += 3) {
    const t = field[i]!;
    const share = cover ? cover[i]! : 1;
    if (share === 1) {
      pixels[p] = r + dr * t;
      pixels[p + 1] = g + dg * t;
      pixels[p + 2] = b + db * t;
    } else if (share > 0) {
      pixels[p] = pixels[p]! + (r + dr * t - pixels[p]!) * share;
      pixels[p + 1] = pixels[p + 1]! + (g + dg * t - pixels[p + 1]!) * share;
      pixels[p + 2] = pixels[p + 2]! + (b + db * t - pixels[p + 2]!) * share;
    }
  }
}

/** Adds normal noise of standard deviation `strength` (in bytes) to every value, as a camera does. */
export function addPixelNoise(pixels: Uint8ClampedArray, random: Random, strength: number): void {
  const offset = random.bits() & NOISE_MASK;
  for (let i = 0; i < pixels.length; i++) {
    pixels[i] = pixels[i]! + strength * NORMAL[(offset + i) & NOISE_MASK]!;
  }
}

/** Mean colour of `pixels` [size, size, 3] near (x, y): what an object put there has to stand out from. */
export function colourAround(
  pixels: Uint8ClampedArray,
  size: number,
  x: number,
  y: number,
  reach: number,
): Colour {
  const sum: Colour = [0, 0, 0];
  for (let j = -1; j <= 1; j++) {
    for (let i = -1; i <= 1; i++) {
      const column = Math.min(size - 1, Math.max(0, Math.round(x + i * reach)));
      const row = Math.min(size - 1, Math.max(0, Math.round(y + j * reach)));
      const p = (row * size + column) * 3;
      sum[0] += pixels[p]! / 9;
      sum[1] += pixels[p + 1]! / 9;
      sum[2] += pixels[p + 2]! / 9;
    }
  }
  return sum;
}

/** How far difficulty hides what a thing is: 0 at difficulty 0, all of it from 0.5 on. */
export const disguise = (difficulty: number): number => Math.min(1, 2 * difficulty);

export const mix = (a: number, b: number, share: number): number => a + (b - a) * share;

/** Brightness of the quietest backgrounds, as a share of the loudest. */
export const DARKEST = 0.55;

/** Darkens a picture: `light` 1 leaves it. */
export function dim(pixels: Uint8ClampedArray, light: number): void {
  if (light < 1) for (let p = 0; p < pixels.length; p++) pixels[p] = pixels[p]! * light;
}

/** Takes colour out of a picture: `colour` 1 leaves it, 0 leaves its greys. */
export function fade(pixels: Uint8ClampedArray, colour: number): void {
  if (colour === 1) return;
  for (let p = 0; p < pixels.length; p += 3) {
    const grey = 0.299 * pixels[p]! + 0.587 * pixels[p + 1]! + 0.114 * pixels[p + 2]!;
    for (let c = p; c < p + 3; c++) pixels[c] = grey + (pixels[c]! - grey) * colour;
  }
}
