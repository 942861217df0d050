// Which prototype of the clustering layer each patch prefers, and the patches that lie nearest to a prototype.

import { SafetensorsReader } from '../../base/safetensors.js';
import { parseConfig } from '../../config/index.js';
import type { Engine, Executable, Program } from '../../engine/program.js';
import { DataError } from '../../errors.js';
import { CLUSTERING } from '../../model/parameters.js';
import { clusteringLogits } from '../../teacher/clustering.js';
import { tf } from '../../tensor/tf.js';

/** The clustering layer of a checkpoint. */
export interface PrototypeWeights {
  readonly count: number;
  readonly width: number;
  /** [count, width] */
  readonly weight: Float32Array;
  /** [count]; zeros where the layer has none. */
  readonly bias: Float32Array;
  /** The layer believes softmax(logits / temperature). */
  readonly temperature: number;
}

/**
 * The clustering layer that a safetensors file holds under the official name, as every checkpoint does; undefined where it has none.
 * @throws DataError for a file that cannot be read
 */
export async function readPrototypes(path: string): Promise<PrototypeWeights | undefined> {
  if (!path.endsWith('.safetensors')) return undefined;
  const reader = await SafetensorsReader.open(path);
  try {
    const [weight, bias] = ['layer.weight', 'layer.bias'].map((name) => CLUSTERING + name) as [
      string,
      string,
    ];
    if (!reader.names().includes(weight)) return undefined;
    const layer = await reader.read(weight);
    const [count, width] = layer.shape as [number, number];
    const offset = reader.names().includes(bias) ? (await reader.read(bias)).data : new Float32Array(count);
    if (!(layer.data instanceof Float32Array) || !(offset instanceof Float32Array)) {
      throw new DataError(`${path}: ${weight} is ${layer.dtype}, expected F32`);
    }
    return {
      count,
      width,
      weight: layer.data,
      bias: offset,
      temperature: temperatureOf(reader.metadata.meta),
    };
  } finally {
    await reader.close();
  }
}

/** The prediction temperature of the run that wrote a checkpoint; the default for files that do not say. */
function temperatureOf(meta: string | undefined): number {
  const config =
    meta === undefined ? undefined : (JSON.parse(meta) as { config?: Record<string, unknown> }).config;
  const own = config?.['clustering.prediction_temperature'];
  return typeof own === 'number' ? own : parseConfig({}).clustering.prediction_temperature;
}

/** A patch of image `image` (position in the list of pictures) with the probability that the layer gives a prototype there. */
export interface NearPatch {
  readonly image: number;
  readonly patch: number;
  readonly probability: number;
}

/** A prototype as the images use it. */
export interface PrototypeUse {
  readonly index: number;
  /** Patches that prefer it. */
  readonly patches: number;
  /** The surest first; of each image its surest patch only, since neighbouring patches tell the same again. */
  readonly nearest: NearPatch[];
}

const LOGITS_AT_ONCE = 1 << 22;

/** Assigns patches to prototypes, image by image, and keeps what the pictures need. */
export class PrototypeMap {
  /** Patches that prefer each prototype. */
  readonly used: Int32Array;
  private readonly nearest: NearPatch[][];
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
      name: `prototypes_${rows}x${w.width}x${w.count}`,
      inputs: {
        patches: { shape: [rows, w.width], dtype: 'float32' },
        'layer.weight': { shape: [w.count, w.width], dtype: 'float32' },
        'layer.bias': { shape: [w.count], dtype: 'float32' },
      },
      state: ['layer.weight', 'layer.bias'],
      run: ({ patches, ...layer }) => ({
        beliefs: tf.logSoftmax(tf.mul(clusteringLogits(layer, patches!), 1 / w.temperature) as never),
      }),
    };
    const executable = await engine.load(program);
    executable.setState({ 'layer.weight': w.weight, 'layer.bias': w.bias });
    return new PrototypeMap(executable, w, rows, keep);
  }

  /** The most probable prototype of every patch [patches, width] of the next image; of equal ones the first. */
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
      const { beliefs } = await this.executable.run({ patches: input });
      for (let r = 0; r < count; r++) {
        let top = 0;
        for (let k = 0, at = r * w.count; k < w.count; k++, at++) {
          const belief = beliefs![at]!;
          if (belief > beliefs![r * w.count + top]!) top = k;
          if (belief > best[k]!) {
            best[k] = belief;
            where[k] = first + r;
          }
        }
        assigned[first + r] = top;
        used[top]!++;
      }
    }
    for (let k = 0; k < w.count; k++) {
      this.remember(k, { image, patch: where[k]!, probability: Math.exp(best[k]!) });
    }
    return assigned;
  }

  private remember(k: number, found: NearPatch): void {
    const list = this.nearest[k]!;
    if (list.length === this.keep && list.at(-1)!.probability >= found.probability) return;
    const place = list.findIndex((other) => other.probability < found.probability);
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
