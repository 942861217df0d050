// Reads the reference values of the official code and compares tensors with them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors } from '../../src/base/safetensors.js';
import { type Config, parseConfig } from '../../src/config/index.js';

/** The folder of reference values: CAPI_REFERENCE_DIR, or the copy in the repository. */
export const referenceDir =
  process.env.CAPI_REFERENCE_DIR ?? join(import.meta.dirname, '../golden/capi-reference');

export interface Reference {
  config: {
    batch: number;
    image_hw: [number, number];
    patch_size: number;
    n_registers: number;
    register_coordinates: 'edge' | 'zeros';
    embed_dim: number;
    num_heads: number;
    enc_depth: number;
    dec_depth: number;
    num_clusters: number;
    mask_ratio: number;
    prediction_subsampling: number;
    distinct_batches: number;
    snapshots: number[];
    drop_path: number;
    optim: { total_iters: number; warmup: number; lr: number; clustering_lr: number; momentum: number };
  };
  curve: Record<string, number[]>;
}

export const reference = JSON.parse(readFileSync(join(referenceDir, 'reference.json'), 'utf8')) as Reference;

export async function tensors(
  file: string,
): Promise<Map<string, { shape: number[]; data: ArrayLike<number> }>> {
  const { tensors } = await readSafetensors(join(referenceDir, file));
  return new Map(
    [...tensors].map(([n, t]) => [n, { shape: [...t.shape], data: t.data as ArrayLike<number> }]),
  );
}

/** The reference run as a config of ours. */
export function referenceConfig(dropPath = 0): Config {
  const c = reference.config;
  return parseConfig({
    model: {
      image_size: c.image_hw,
      patch_size: c.patch_size,
      width: c.embed_dim,
      heads: c.num_heads,
      depth: c.enc_depth,
      registers: c.n_registers,
      register_coordinates: c.register_coordinates,
      drop_path: dropPath,
      predictor: { depth: c.dec_depth },
    },
    masking: { ratio: c.mask_ratio, predict: c.prediction_subsampling },
    clustering: { prototypes: c.num_clusters },
    optim: {
      lr: c.optim.lr,
      clustering_lr: c.optim.clustering_lr,
      momentum: c.optim.momentum,
      warmup: c.optim.warmup / c.optim.total_iters,
    },
    train: { batch: c.batch, steps: c.optim.total_iters },
  });
}

/** Largest absolute difference over the largest magnitude of the expected tensor. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} values, expected ${expected.length}`);
  let largest = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const d = Math.abs(actual[i]! - expected[i]!);
    worst = Number.isNaN(d) ? Infinity : Math.max(worst, d);
  }
  return worst / (largest || 1);
}

/** Rows [count, batch, width] position-major to [batch, count, width]. */
export function byImage(x: ArrayLike<number>, count: number, batch: number): Float64Array {
  const width = x.length / (count * batch);
  const out = new Float64Array(x.length);
  for (let t = 0; t < count; t++) {
    for (let b = 0; b < batch; b++) {
      for (let c = 0; c < width; c++) out[(b * count + t) * width + c] = x[(t * batch + b) * width + c]!;
    }
  }
  return out;
}
