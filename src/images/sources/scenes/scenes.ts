// What the generated sources share: options, splits, and a picture of several placed objects with its label map.

import { sha256 } from '../../../base/hash.js';
import type { Random } from '../../../base/random.js';
import type { DepthMap, LabelMap, RawImage } from '../../decode/resample.js';
import type { ImageSource, SourceOptions, SourceUri } from '../../source.js';
import { canonicalUri, numberOption, SPLIT_OPTION, splitOption } from '../uri.js';

/** Number of scenes of a split unless `?count=` says otherwise. */
const SCENE_COUNT = { train: 60_000, test: 2_000 };

/** Options of every generated source, with what they accept. */
export const SCENE_OPTIONS = {
  ...SPLIT_OPTION,
  size: 'the side in pixels, 32 to 512',
  count: 'the number of scenes',
  seed: 'a whole number, from 0 on',
  difficulty: 'from 0, one large object in greys, to 1, several in colours on loud textures',
};

/** Resolved options of a generated source. */
export interface SceneOptions {
  split: 'train' | 'test';
  size: number;
  count: number;
  seed: number;
  difficulty: number;
}

/** Reads the options of a generated source whose usual difficulty is `difficulty`. Throws UsageError. */
export function sceneOptions(uri: SourceUri, options: SourceOptions, difficulty: number): SceneOptions {
  const split = splitOption(uri, options.split) ?? 'train';
  return {
    split,
    size: numberOption(uri, 'size', options.size ?? 64, { low: 32, high: 512 }),
    count: numberOption(uri, 'count', SCENE_COUNT[split], { low: 1, high: 2 ** 31 }),
    seed: numberOption(uri, 'seed', options.seed ?? 0, { low: 0, high: Number.MAX_SAFE_INTEGER }),
    difficulty: numberOption(uri, 'difficulty', difficulty, { low: 0, high: 1, whole: false }),
  };
}

/** A generated picture [size, size, 3] with its labels and its depth in metres [size, size]. */
export interface Scene {
  pixels: Uint8ClampedArray;
  labels: Uint8Array;
  depths: Float32Array;
}

/** Depth of the background, a wall, in metres. */
const WALL = 10;

/** A picture whose pixels are black, without objects. */
export const emptyScene = (size: number): Scene => ({
  pixels: new Uint8ClampedArray(size * size * 3),
  labels: new Uint8Array(size * size),
  depths: new Float32Array(size * size).fill(WALL),
});

/**
 * Depth of each object in metres, the foremost first, before the wall: as far as it looks small (1.5 m where it is as large as the picture), but at least
 * 0.1 m behind the one before it. It follows from the places alone, so that pictures do not depend on it.
 */
export function depthsOf(places: readonly Placement[], size: number): number[] {
  let before = 0;
  return places.map(({ extent }) => {
    before = Math.min(WALL - 0.1, Math.max((1.5 * size) / extent, before + 0.1));
    return before;
  });
}

/** Makes a source of a generator. `content` names everything but the URI that decides the pictures: the generator's version, its data. */
export function sceneSource(parts: {
  scheme: string;
  place: string;
  options: SceneOptions;
  content(): string;
  classes: string[];
  draw(i: number): Scene;
  label(i: number): number;
}): ImageSource {
  const { options, classes } = parts;
  const { split, size, count } = options;
  let last: { index: number; scene: Scene } | undefined; // an image and its label map are asked for in turn
  const scene = (index: number): Scene => {
    if (!(Number.isInteger(index) && index >= 0 && index < count)) {
      throw new RangeError(`Scene ${index} does not exist: the source has ${count}`);
    }
    if (last?.index !== index) last = { index, scene: parts.draw(index) };
    return last.scene;
  };
  return {
    uri: canonicalUri(parts.scheme, parts.place, { ...options }),
    split,
    length: count,
    classes,
    labelMapClasses: ['background', ...classes],
    ignoreLabels: [],
    nativeSize: { height: size, width: size },
    name: (i) => `${split} scene ${i}`,
    label: parts.label,
    async read(i): Promise<RawImage> {
      return { data: new Uint8Array(scene(i).pixels), height: size, width: size };
    },
    async labelMap(i): Promise<LabelMap> {
      return { data: scene(i).labels.slice(), height: size, width: size };
    },
    async depthMap(i): Promise<DepthMap> {
      return { data: scene(i).depths.slice(), height: size, width: size };
    },
    async identity() {
      const query = canonicalUri(parts.scheme, '/', { ...options });
      return sha256(`${query} ${parts.content()}`);
    },
  };
}

/** Where an object lies: its middle, its extent and its turn, in pixels and radians. */
export interface Placement {
  x: number;
  y: number;
  extent: number;
  turn: number;
}

/**
 * Places `extents.length` objects. The first may lie anywhere; each other takes the freest of six places. At least
 * three quarters of an object's box, or so, lies inside the picture.
 */
export function placeObjects(
  random: Random,
  size: number,
  extents: number[],
  largestTurn: number,
): Placement[] {
  const placed: Placement[] = [];
  for (const extent of extents) {
    const margin = 0.38 * extent;
    let best: Placement | undefined;
    let bestOverlap = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < (placed.length === 0 ? 1 : 6) && bestOverlap > 0; tries++) {
      const candidate = {
        x: random.uniform(margin, size - margin),
        y: random.uniform(margin, size - margin),
        extent,
        turn: random.uniform(-largestTurn, largestTurn),
      };
      const covered = placed.reduce((sum, other) => sum + overlap(candidate, other), 0);
      if (covered < bestOverlap) {
        best = candidate;
        bestOverlap = covered;
      }
    }
    placed.push(best!);
  }
  return placed;
}

/** Common area of the two boxes. */
function overlap(a: Placement, b: Placement): number {
  const reach = (a.extent + b.extent) / 2;
  const across = Math.min(a.extent, b.extent, reach - Math.abs(a.x - b.x));
  const down = Math.min(a.extent, b.extent, reach - Math.abs(a.y - b.y));
  return across > 0 && down > 0 ? across * down : 0;
}

/** The pixels that a placed square may touch (inclusive bounds), and how to find their place in its own frame. */
export interface Footprint {
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** u = across * dx + down * dy and v = across * dy - down * dx run over -0.5..0.5 on the object, dx and dy counted from its middle. */
  across: number;
  down: number;
}

/** Where a placement falls on a picture of `size`. */
export function footprint(place: Placement, size: number): Footprint {
  const c = Math.cos(place.turn);
  const s = Math.sin(place.turn);
  const reach = (Math.abs(c) + Math.abs(s)) * (place.extent / 2);
  return {
    left: Math.max(0, Math.floor(place.x - reach)),
    right: Math.min(size - 1, Math.ceil(place.x + reach)),
    top: Math.max(0, Math.floor(place.y - reach)),
    bottom: Math.min(size - 1, Math.ceil(place.y + reach)),
    across: c / place.extent,
    down: s / place.extent,
  };
}

let fields = new Float32Array(0);

/** Room for the three fields of a background, kept between scenes. */
export function sceneScratch(size: number): Float32Array {
  const room = 3 * size * size;
  if (fields.length < room) fields = new Float32Array(room);
  return fields.subarray(0, room);
}
