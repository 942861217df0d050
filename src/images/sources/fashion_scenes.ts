// `fashion-scenes:DIR`: Fashion-MNIST garments composed on textured backgrounds, with label maps; deterministic by (seed, split, index).

import { type Random, stream } from '../../base/random.js';
import { DataError } from '../../errors.js';
import type { SourceKind } from '../source.js';
import { type IdxData, readIdx } from './idx.js';
import { cutGarment, type Garment, halveGarment } from './scenes/garments.js';
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
  DARKEST,
  dim,
  disguise,
  fade,
  mix,
  paintBackground,
} from './scenes/textures.js';
import { absolute } from './uri.js';

/** Change it when a change of the code changes any pixel or depth: it is part of the source's identity. */
const VERSION = 'fashion scenes 2';

/**
 * Difficulty 0: one large, upright garment in its own greys on a quiet, darker background. From 0 to 0.5 garments become smaller and more,
 * take on colours, brightness and turns that say nothing of their kind, and pictures gain colour; up to 1 backgrounds grow louder.
 */
const background = (difficulty: number) => ({
  patterned: 0.6 * difficulty,
  split: 0.4,
  contrast: 60 + 320 * difficulty,
});
const LARGEST_TURN = 0.35; // radians, 20 degrees

/**
 * Scenes composed of the garments of one split only. Label 0 of the map is background, 1..10 the garments; the label of an image is its main
 * garment, the largest and foremost.
 */
export const fashionScenes: SourceKind = {
  reads: 'Fashion-MNIST garments composed on textured backgrounds, with label maps',
  place: 'DIR',
  example: 'fashion-scenes:/usr/share/datasets/fashion-mnist?size=64',
  options: SCENE_OPTIONS,
  async open(uri, options) {
    const scene = sceneOptions(uri, options, 0);
    const garments = await readIdx(uri.place, scene.split);
    if (garments.height !== garments.width) {
      throw new DataError(
        `${uri.place} holds pictures of ${garments.height} x ${garments.width}; scenes are composed of square ones`,
      );
    }
    return sceneSource({
      scheme: 'fashion-scenes',
      place: absolute(uri.place),
      options: scene,
      content: () => `${VERSION} ${garments.digest()}`,
      classes: garments.classes,
      draw: (i) => drawScene(garments, scene, i),
      label: (i) => garments.labels[mainGarment(sceneStream(scene, i), garments)],
    });
  },
};

function sceneStream({ seed, split }: SceneOptions, i: number): Random {
  return stream(seed, 'fashion-scenes', split, i);
}

function mainGarment(random: Random, garments: IdxData): number {
  return random.int(garments.count);
}

interface Plan {
  chosen: number[];
  places: Placement[];
}

/** One to four garments (one at difficulty 0): the main one takes half of the picture's side or more, the others less. */
function planScene(random: Random, garments: IdxData, { size, difficulty }: SceneOptions): Plan {
  const chosen = [mainGarment(random, garments)];
  const crowd = disguise(difficulty);
  const others = Math.round(crowd * [0, 0, 1, 1, 1, 2, 2, 3][random.int(8)]!);
  const extents = [size * random.uniform(mix(0.7, 0.5, crowd), mix(1, 0.9, crowd))];
  for (let i = 0; i < others; i++) {
    chosen.push(random.int(garments.count));
    extents.push(Math.min(extents[0]! * 0.9, size * random.uniform(0.32, 0.6)));
  }
  return { chosen, places: placeObjects(random, size, extents, LARGEST_TURN * disguise(difficulty)) };
}

function drawScene(garments: IdxData, options: SceneOptions, i: number): Scene {
  const { size, difficulty } = options;
  const random = sceneStream(options, i);
  const { chosen, places } = planScene(random, garments, options);
  const depths = depthsOf(places, size);
  const scene = emptyScene(size);
  const { pixels } = scene;
  paintBackground(pixels, size, random, background(difficulty), sceneScratch(size));
  dim(pixels, mix(DARKEST, 1, disguise(difficulty)));
  for (let k = chosen.length - 1; k >= 0; k--) {
    const index = chosen[k]!;
    const place = places[k]!;
    let garment = cutGarment(garments.images, index * garments.height * garments.width, garments.width);
    if (place.extent < 0.6 * garments.width) garment = halveGarment(garment);
    drawGarment(scene, options, garment, place, garments.labels[index]! + 1, depths[k]!, random);
  }
  fade(pixels, disguise(difficulty));
  addPixelNoise(pixels, random, random.uniform(1, 6));
  return scene;
}

/** Draws a garment in a colour that stands out from what it covers, perhaps mirrored, by bilinear interpolation. */
function drawGarment(
  { pixels, labels, depths }: Scene,
  { size, difficulty }: SceneOptions,
  garment: Garment,
  place: Placement,
  label: number,
  depth: number,
  random: Random,
): void {
  const { side, alpha, shade } = garment;
  const behind = colourAround(pixels, size, place.x, place.y, place.extent / 4);
  const share = disguise(difficulty);
  const [red, green, blue] = lift(colourAwayFrom(random, behind, 120)).map((c) =>
    mix(255, c, share),
  ) as Colour;
  const darkness = share * random.uniform(0.1, 0.45); // colour of black cloth, as a share of white cloth's
  const bend = share * random.uniform(-0.3, 0.4); // lightens or darkens the middle greys
  const mirror = random.next() < 0.5 ? -1 : 1;
  const { left, right, top, bottom, across, down } = footprint(place, size);
  const cells = side - 2; // the grid's outer ring is empty, so that every point has four neighbours
  for (let y = top; y <= bottom; y++) {
    const dy = y + 0.5 - place.y;
    for (let x = left; x <= right; x++) {
      const dx = x + 0.5 - place.x;
      const gx = (mirror * (across * dx + down * dy) + 0.5) * cells + 0.5;
      const gy = (across * dy - down * dx + 0.5) * cells + 0.5;
      if (gx < 0 || gy < 0 || gx >= side - 1 || gy >= side - 1) continue;
      const cell = (gy | 0) * side + (gx | 0);
      const a00 = alpha[cell]!;
      const a01 = alpha[cell + 1]!;
      const a10 = alpha[cell + side]!;
      const a11 = alpha[cell + side + 1]!;
      if (a00 + a01 + a10 + a11 === 0) continue;
      const fx = gx - (gx | 0);
      const fy = gy - (gy | 0);
      const cover = (1 - fy) * (a00 + (a01 - a00) * fx) + fy * (a10 + (a11 - a10) * fx);
      if (cover < 0.02) continue;
      const upper = shade[cell]! + (shade[cell + 1]! - shade[cell]!) * fx;
      const lower = shade[cell + side]! + (shade[cell + side + 1]! - shade[cell + side]!) * fx;
      const level = (upper + (lower - upper) * fy) / cover;
      const tone = darkness + (1 - darkness) * level * (1 + bend * (1 - level));
      const pixel = y * size + x;
      const p = pixel * 3;
      pixels[p] = pixels[p]! + (red * tone - pixels[p]!) * cover;
      pixels[p + 1] = pixels[p + 1]! + (green * tone - pixels[p + 1]!) * cover;
      pixels[p + 2] = pixels[p + 2]! + (blue * tone - pixels[p + 2]!) * cover;
      if (cover <= 0.5) continue;
      labels[pixel] = label;
      depths[pixel] = depth;
    }
  }
}

/** The colour of the lightest cloth, lifted so that cloth of middle grey has about the drawn colour. */
function lift(colour: Colour): Colour {
  const factor = Math.min(1.4, 255 / Math.max(...colour));
  return [colour[0] * factor, colour[1] * factor, colour[2] * factor];
}
