// What an evaluation will take, before it begins: images, vectors, disk, memory, time.
import type { FrozenEncoder } from '../encoder/frozen.js';
import { productRate } from '../engine/select.js';
import { inStore } from './dataset.js';
import type { EvaluateOptions } from './evaluate.js';
import { floorSpecs } from './floors.js';
import { type LoadedProtocol, loadProtocol } from './protocol.js';
import { allSets, openEncoder, openSets } from './sets.js';
import type { Sets } from './task.js';

export interface EncoderPlan {
  readonly label: string;
  /** Images of all sets. */
  readonly images: number;
  /** Patch vectors of all sets. */
  readonly vectors: number;
  /** Channels of a patch vector. */
  readonly width: number;
  /** Images whose features are in the store already. */
  readonly stored: number;
  /** Bytes of features and label maps that will be added to the store. */
  readonly diskBytes: number;
  readonly memoryBytes: number;
  /** Features measured on one batch, heads by their operations. */
  readonly seconds: number;
}

export interface EvaluationPlan {
  readonly store: string;
  /** Rate of a product of two 512 x 512 matrices, measured. */
  readonly gflops: number;
  readonly encoders: readonly EncoderPlan[];
}

/** Plans what `evaluate` would do with the same options; runs one batch of every encoder. */
export async function planEvaluation(o: EvaluateOptions): Promise<EvaluationPlan> {
  const protocol = await loadProtocol(o.protocol, o.task);
  const rate = (await productRate(o.engine, 512)) * 1e9;
  const encoders: EncoderPlan[] = [];
  let specs = [...o.encoders];
  let sets: Sets | undefined;
  for (let i = 0; i < specs.length; i++) {
    const encoder = await openEncoder(o, specs[i]!, protocol);
    try {
      if (i === 0 && o.floors) specs = [...specs, ...floorSpecs(specs[0]!, encoder)];
      sets ??= await openSets(protocol.task, o, encoder);
      encoders.push(await planOne(o, encoder, specs[i]!, sets, protocol, rate));
    } finally {
      await encoder.close();
    }
  }
  return { store: o.store, gflops: rate / 1e9, encoders };
}

async function planOne(
  o: EvaluateOptions,
  encoder: FrozenEncoder,
  label: string,
  sets: Sets,
  { task, settings }: LoadedProtocol,
  rate: number,
): Promise<EncoderPlan> {
  let [images, stored, maps] = [0, 0, 0];
  for (const data of allSets(sets)) {
    const { length } = data.indices;
    const found = inStore(encoder, data, task.transform(settings), o.store, task.maps);
    images += length;
    if (found.features && !o.force) stored += length;
    maps += o.force ? found.maps.whole : found.maps.lacking;
  }
  const tokens = encoder.grid.rows * encoder.grid.columns;
  const { patchWidth: width, globalWidth, registers } = encoder;
  const perImage = tokens * width + (globalWidth ?? 0) + (registers ? registers.count * registers.width : 0);
  const input = new Uint8Array(encoder.batch * encoder.size.height * encoder.size.width * 3);
  await encoder.run(input);
  const begin = performance.now();
  await encoder.run(input);
  const each = (performance.now() - begin) / 1000 / encoder.batch;
  const heads = task.cost({ settings, encoder, sets, memory: o.memory });
  return {
    label,
    images,
    stored,
    vectors: images * tokens,
    width,
    diskBytes: 4 * (images - stored) * perImage + maps,
    memoryBytes: heads.bytes,
    seconds: (images - stored + (heads.crops ?? 0)) * each + heads.operations / rate,
  };
}
