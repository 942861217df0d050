// Which prototype of the clustering layer each patch prefers, and the patches that lie nearest to a prototype.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readCheckpoint } from '../../checkpoint/file.js';
import { latestCheckpoint } from '../../checkpoint/folder.js';
import type { Engine, Executable, Program } from '../../engine/program.js';
import { DataError } from '../../errors.js';
import { CLUSTERING } from '../../model/parameters.js';
import { clusteringLogits } from '../../teacher/clustering.js';

/** The clustering layer of a checkpoint. */
export interface PrototypeWeights {
  readonly count: number;
  readonly width: number;
  /** [count, width] */
  readonly weight: Float32Array;
  /** [count]; zeros where the layer has none. */
  readonly bias: Float32Array;
}

/**
 * The clustering layer of a run folder (its newest checkpoint) or of a checkpoint file.
 * @throws DataError when there is no checkpoint or it has no such layer
 */
export async function readPrototypes(path: string): Promise<PrototypeWeights> {
  const folder = existsSync(path) && statSync(path).isDirectory();
  const file = folder ? (await latestCheckpoint(join(path, 'checkpoints')))?.path : path;
  if (!file) throw new DataError(`${path} has no checkpoint`);
  const { tensors } = await readCheckpoint(file, { only: (name) => name.startsWith(CLUSTERING) });
  const layer = tensors.get(`${CLUSTERING}layer.weight`);
  const bias = tensors.get(`${CLUSTERING}layer.bias`);
  if (!(layer?.data instanceof Float32Array)) throw new DataError(`${file} has no clustering layer`);
  const [count, width] = layer.shape as [number, number];
  return {
    count,
    width,
    weight: layer.data,
    bias: bias?.data instanceof Float32Array ? bias.data : new Float32Array(count),
  };
}

/** A patch of image `image` (position in the list of pictures) with its cosine to a prototype. */
export interface NearPatch {
  readonly image: number;
  readonly patch: number;
  readonly cosine: number;
}

/** A prototype as the images use it. */
export interface PrototypeUse {
  readonly index: number;
  /** Patches that prefer it. */
  readonly patches: number;
  /** Nearest first; of each image its nearest patch only, since neighbouring patches tell the same again. */
  readonly nearest: NearPatch[];
}

const LOGITS_AT_ONCE = 1 << 22;

/** Assigns patches to prototypes, image by image, and keeps what the pictures need. */
export class PrototypeMap {
  /** Patches that prefer each prototype. */
  readonly used: Int32Array;
  private readonly nearest: NearPatch[][];
  private readonly lengths: Float64Array;
  private images = 0;

  private constructor(
    private readonly executable: Executable,
    private readonly w: PrototypeWeights,
    /** Patches of one call. */
    private readonly rows: number,
    private readonly keep: number,
  ) {
    this.used = new Int32Array(w.count);
    this.nearest = Array.from({ length: w.count }, () => []);
    this.lengths = Float64Array.from({ length: w.count }, (_, k) =>
      Math.hypot(...w.weight.subarray(k * w.width, (k + 1) * w.width)),
    );
  }

  /** For images of `patches` patches; `keep` nearest patches are remembered of every prototype. */
  static async open(
    engine: Engine,
    w: PrototypeWeights,
    patches: number,
    keep: number,
  ): Promise<PrototypeMap> {
    const rows = Math.min(patches, Math.max(1, Math.floor(LOGITS_AT_ONCE / w.count)));
    const program: Program = {
      name: `prototype_logits_${rows}x${w.width}x${w.count}`,
      inputs: {
        patches: { shape: [rows, w.width], dtype: 'float32' },
        'layer.weight': { shape: [w.count, w.width], dtype: 'float32' },
        'layer.bias': { shape: [w.count], dtype: 'float32' },
      },
      state: ['layer.weight', 'layer.bias'],
      run: ({ patches, ...layer }) => ({ logits: clusteringLogits(layer, patches!) }),
    };
    const executable = await engine.load(program);
    executable.setState({ 'layer.weight': w.weight, 'layer.bias': w.bias });
    return new PrototypeMap(executable, w, rows, keep);
  }

  /** The prototype of the largest logit for every patch [patches, width] of the next image; of equal ones the first. */
  async assign(features: Float32Array): Promise<Int32Array> {
    const { rows, w, used } = this;
    const image = this.images++;
    const patches = features.length / w.width;
    const assigned = new Int32Array(patches);
    const best = new Float64Array(w.count).fill(Number.NEGATIVE_INFINITY);
    const where = new Int32Array(w.count);
    const input = new Float32Array(rows * w.width);
    for (let first = 0; first < patches; first += rows) {
      const count = Math.min(rows, patches - first);
      input.set(features.subarray(first * w.width, (first + count) * w.width));
      const { logits } = await this.executable.run({ patches: input });
      for (let r = 0; r < count; r++) {
        let top = 0;
        for (let k = 0, at = r * w.count; k < w.count; k++, at++) {
          const logit = logits![at]!;
          if (logit > logits![r * w.count + top]!) top = k;
          if (logit > best[k]!) {
            best[k] = logit;
            where[k] = first + r;
          }
        }
        assigned[first + r] = top;
        used[top]!++;
      }
    }
    for (let k = 0; k < w.count; k++) {
      const cosine = (best[k]! - w.bias[k]!) / this.lengths[k]!;
      this.remember(k, { image, patch: where[k]!, cosine });
    }
    return assigned;
  }

  private remember(k: number, found: NearPatch): void {
    const list = this.nearest[k]!;
    if (list.length === this.keep && list.at(-1)!.cosine >= found.cosine) return;
    const place = list.findIndex((other) => other.cosine < found.cosine);
    list.splice(place < 0 ? list.length : place, 0, found);
    if (list.length > this.keep) list.pop();
  }

  /** The `count` prototypes that most patches prefer, the most used first; unused ones are left out. */
  mostUsed(count: number): PrototypeUse[] {
    return Array.from(this.used, (patches, index) => ({ index, patches, nearest: this.nearest[index]! }))
      .filter(({ patches }) => patches > 0)
      .sort((a, b) => b.patches - a.patches || a.index - b.index)
      .slice(0, count);
  }

  close(): Promise<void> {
    return this.executable.dispose();
  }
}
