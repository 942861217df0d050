// What cases are made of: small images, class folders, pairs with label maps, protocols and runs.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp from 'sharp';

/** A file with its folders. */
export function file(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** Bytes that depend on the seed alone (mulberry32). */
export function noise(length, seed) {
  let a = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length }, () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) & 255;
  });
}

/** An image file: noise of a seed, or one colour [r, g, b] with a little noise, so that classes can be told apart. */
export async function image(path, { seed = 0, colour, width = 24, height = 24 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  const data = noise(width * height * 3, seed);
  if (colour)
    data.forEach((v, i) => {
      data[i] = Math.min(255, colour[i % 3] + (v >> 4));
    });
  await sharp(data, { raw: { width, height, channels: 3 } }).toFile(path);
  return path;
}

export const COLOURS = [
  [200, 20, 20],
  [20, 200, 20],
  [20, 20, 200],
  [180, 180, 20],
];

/** `root/train` and `root/test`, each with `classes` folders of images in the colour of their class. */
export async function classFolders(
  root,
  { classes = 3, train = 6, test = 4, ending = 'png', parts = ['train', 'test'] } = {},
) {
  let seed = 1;
  for (const [p, count] of [train, test].entries()) {
    for (let c = 0; c < classes; c++) {
      for (let i = 0; i < count; i++) {
        const path = join(root, parts[p], `class${c}`, `${parts[p]}${c}_${i}.${ending}`);
        await image(path, { seed: seed++, colour: COLOURS[c % 4] });
      }
    }
  }
  return root;
}

/** `root/images` and `root/labels` with train and test parts: a square of label 1 to 3 on label 0. */
export async function pairs(root, { train = 6, test = 4, size = 32 } = {}) {
  let seed = 1;
  for (const [part, count] of [
    ['train', train],
    ['test', test],
  ]) {
    for (let i = 0; i < count; i++) {
      const label = 1 + (i % 3);
      const map = new Uint8Array(size * size);
      const data = noise(size * size * 3, seed++);
      for (let p = 0; p < map.length; p++) {
        const [y, x] = [Math.floor(p / size), p % size];
        if (y >= 8 && y < 24 && x >= 8 && x < 24) map[p] = label;
        for (let c = 0; c < 3; c++) data[3 * p + c] = (COLOURS[map[p] % 4][c] * 7 + data[3 * p + c]) >> 3;
      }
      const name = `${part}${i}.png`;
      mkdirSync(join(root, 'images', part), { recursive: true });
      await sharp(data, { raw: { width: size, height: size, channels: 3 } }).toFile(
        join(root, 'images', part, name),
      );
      await labelMap(join(root, 'labels', part, name), map, size, size);
    }
  }
  return `pairs:${join(root, 'images')},${join(root, 'labels')}?classes=4`;
}

/** A label map as greyscale PNG. */
export async function labelMap(path, map, width, height) {
  mkdirSync(dirname(path), { recursive: true });
  await sharp(map, { raw: { width, height, channels: 1 } })
    .toColourspace('b-w')
    .png()
    .toFile(path);
}

/** A protocol of k-NN alone, for a classification in about a second. */
export const KNN = `classification:
  sources: [average_patch]
  features: cached
  transform: { image_size: null, shorter_side: 1, crop_scale: [1, 1], crop_ratio: [1, 1], flip: 0 }
  validation_share: 0.2
  split_seed: 42
  learning_rates: [1e-2]
  weight_decays: [5e-4]
  batch: 16
  reference_batch: 256
  steps: 5
  warmup_steps: 1
  betas: [0.9, 0.95]
  eps: 1e-8
  init_std: 0.02
  knn: { sources: [average_patch], k: [1, 3], votes: [plain], temperature: 0.07 }
  few_shot: null
`;

/** A protocol of logistic regression alone, for a segmentation in about a second. */
export const LOGREG = `segmentation:
  transform: { image_size: null }
  validation_share: 0.2
  split_seed: 42
  standardise: true
  metric: official
  knn: null
  logreg: { C: [1.0], max_iterations: 100, tolerance: 1e-4 }
  linear: null
`;

/** A preset that trains in a second or two. */
export const TINY = `model: { image_size: 32, patch_size: 8, width: 32, heads: 2, depth: 1, registers: 4, drop_path: 0, predictor: { depth: 1 } }
masking: { predict: 1 }
clustering: { prototypes: 16 }
optim: { lr: 3.0e-3, clustering_lr: 1.5e-3, momentum: 0.99 }
data: { source: 'synthetic:scenes?size=32&difficulty=0&count=200' }
train: { steps: 4, batch: 8 }
checkpoint: { every: 2 }
`;
