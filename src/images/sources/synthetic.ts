// `synthetic:scenes`: textured objects on textured backgrounds whose class is shape and texture together; deterministic by (seed, split, index).

import { type Random, stream } from '../../base/random.js';
import { UsageError } from '../../errors.js';
import type { SourceKind } from '../source.js';
import {
  depthsOf,
  emptyScene,
  footprint,
  type Placement,
  placeObjects,
  SCENE_OPTIONS,
  type Scene,
  type SceneOptions,
  sceneOptions,
  sceneScratch,
  sceneSource,
} from './scenes/scenes.js';
import {
  addPixelNoise,
  type Colour,
  colourAround,
  colourAwayFrom,
  colourNear,
  DARKEST,
  dim,
  disguise,
  fade,
  mix,
  PATTERNS,
  type Pattern,
  paintBackground,
  patternAt,
  randomFrame,
  randomPeriod,
} from './scenes/textures.js';

/** Change it when a change of the code changes any pixel or depth: it is part of the source's identity. */
const VERSION = 'synthetic scenes 2';

const SHAPES = ['disc', 'square', 'triangle', 'cross'] as const;
type Shape = (typeof SHAPES)[number];
const ADJECTIVE: Record<Pattern, string> = { stripes: 'striped', checks: 'checked', dots: 'dotted' };

/** Every shape in every pattern: `class = shape * 3 + pattern`. */
export const SYNTHETIC_CLASSES = SHAPES.flatMap((shape) =>
  PATTERNS.map((pattern) => `${ADJECTIVE[pattern]} ${shape}`),
);

/**
 * The generated scenes. The label of an image is its main object (the largest and foremost); in the label map 0 is background and 1..12 are the
 * classes. Plain shapes without a pattern are decoys: background. Difficulty 0: one large object in greys, calm, darker background, strong contrast.
 * 0.5 on: colours that say nothing of the class. 1: several small ones, plain decoys, patterned backgrounds, weak contrast, noise.
 */
export const synthetic: SourceKind = {
  reads: 'textured objects on textured backgrounds, generated; nothing to download',
  place: 'scenes',
  example: 'synthetic:scenes?size=64&difficulty=0.5',
  options: SCENE_OPTIONS,
  async open(uri, options) {
    if (uri.place !== 'scenes') {
      throw new UsageError(
        `Image source '${uri.text}' names unknown synthetic images '${uri.place}'; there is synthetic:scenes`,
      );
    }
    const scene = sceneOptions(uri, options, 0.5);
    return sceneSource({
      scheme: 'synthetic',
      place: 'scenes',
      options: scene,
      content: () => VERSION,
      classes: SYNTHETIC_CLASSES,
      draw: (i) => drawScene(scene, i),
      label: (i) => mainClass(sceneStream(scene, i)),
    });
  },
};

function sceneStream({ seed, split }: SceneOptions, i: number): Random {
  return stream(seed, 'synthetic', split, i);
}

function mainClass(random: Random): number {
  return random.int(SYNTHETIC_CLASSES.length);
}

const DECOY = -1;

function drawScene(options: SceneOptions, i: number): Scene {
  const { size, difficulty: d } = options;
  const random = sceneStream(options, i);
  const kinds = [mainClass(random)];
  const hidden = disguise(d);
  const smallest = mix(0.7, 0.6 - 0.2 * d, hidden);
  const extents = [size * random.uniform(smallest, smallest + 0.3)];
  const objects = random.int(Math.round(3 * d) + 1);
  const decoys = random.int(Math.round(2 * d) + 1);
  for (let k = 0; k < objects + decoys; k++) {
    kinds.push(k < objects ? random.int(SYNTHETIC_CLASSES.length) : DECOY);
    extents.push(extents[0]! * random.uniform(0.5, 0.85));
  }
  const places = placeObjects(random, size, extents, Math.PI * d);
  const depths = depthsOf(places, size);
  const scene = emptyScene(size);
  const { pixels } = scene;
  const style = { patterned: 0.6 * d, split: 0.6 * d, contrast: 60 + 200 * d };
  paintBackground(pixels, size, random, style, sceneScratch(size));
  dim(pixels, mix(DARKEST, 1, hidden));
  for (let k = kinds.length - 1; k >= 0; k--)
    drawObject(scene, options, random, kinds[k]!, places[k]!, depths[k]!);
  fade(pixels, hidden);
  addPixelNoise(pixels, random, random.uniform(1, 3 + 10 * d));
  return scene;
}

/** Draws one object in two colours of its own, the pattern turned independently of the shape. */
function drawObject(
  { pixels, labels, depths }: Scene,
  { size, difficulty }: SceneOptions,
  random: Random,
  kind: number,
  place: Placement,
  depth: number,
): void {
  const decoy = kind === DECOY;
  const shape = SHAPES[decoy ? random.int(SHAPES.length) : Math.floor(kind / PATTERNS.length)]!;
  const pattern = PATTERNS[decoy ? 0 : kind % PATTERNS.length]!;
  const behind = colourAround(pixels, size, place.x, place.y, place.extent / 4);
  const drawnLow = colourAwayFrom(random, behind, 220 - 120 * difficulty);
  const drawnHigh = colourNear(random, drawnLow, decoy ? 0 : 300 - 140 * difficulty);
  const own = (colour: Colour, grey: number): Colour =>
    colour.map((c) => mix(grey, c, disguise(difficulty))) as Colour;
  const low = own(drawnLow, 150);
  const high = own(drawnHigh, 250);
  const frame = randomFrame(random, randomPeriod(random, size));
  const { left, right, top, bottom, across, down } = footprint(place, size);
  for (let y = top; y <= bottom; y++) {
    const dy = y + 0.5 - place.y;
    for (let x = left; x <= right; x++) {
      const dx = x + 0.5 - place.x;
      const inside = -shapeDistance(shape, across * dx + down * dy, across * dy - down * dx);
      const cover = Math.min(1, 0.5 + inside * place.extent);
      if (cover <= 0) continue;
      const t = patternAt(
        pattern,
        frame.ux * x + frame.uy * y + frame.u0,
        frame.vx * x + frame.vy * y + frame.v0,
      );
      const pixel = y * size + x;
      for (let c = 0; c < 3; c++) {
        const p = pixel * 3 + c;
        pixels[p] = pixels[p]! + (low[c]! + (high[c]! - low[c]!) * t - pixels[p]!) * cover;
      }
      if (cover <= 0.5) continue;
      labels[pixel] = kind + 1; // a decoy covers what is behind it
      depths[pixel] = depth;
    }
  }
}

/** Signed distance to the outline (negative inside; near the corners only a bound), for shapes inside of [-0.5, 0.5]². */
function shapeDistance(shape: Shape, u: number, v: number): number {
  const x = Math.abs(u);
  const y = Math.abs(v);
  switch (shape) {
    case 'disc':
      return Math.sqrt(u * u + v * v) - 0.45;
    case 'square':
      return Math.max(x, y) - 0.38;
    case 'triangle':
      return Math.max(0.866 * x + 0.5 * (v - 0.1), -(v - 0.1)) - 0.26;
    case 'cross':
      return Math.min(Math.max(x - 0.47, y - 0.16), Math.max(x - 0.16, y - 0.47));
  }
}
