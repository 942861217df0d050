// An encoder in an ONNX file of anyone's: bytes are normalised here, and an adapter says where its features come out.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { canonicalJson } from '../base/hash.js';
import { type ModelFacts, modelFacts } from '../engine/onnx/external.js';
import type { Engine } from '../engine/program.js';
import { DataError } from '../errors.js';
import { type Adapter, adapterFile, checkDigest, readAdapter } from './adapter.js';
import { busyThreads } from './chunks.js';
import { checkBytes } from './floors.js';
import { canStartProcesses, type ForeignModel, type ForeignRequest, hostForeign } from './foreign_host.js';
import type { ForeignFeatures } from './foreign_reader.js';
import type { FrozenEncoder, FrozenFeatures } from './frozen.js';
import { testSelf } from './self_test.js';
import { type EncoderSpec, gridOf, type Size, sizeOption, sizeText, specText } from './spec.js';

/**
 * Opens an ONNX file on onnxruntime (whatever the engine; its device when it is `onnx`) in a process of its own, and tries whether it agrees
 * with itself. A file whose batch is fixed is called as often as a batch needs. `own`: a file that was made here runs in this process, untried.
 * @throws UsageError (no adapter, a size that it does not take), DataError (adapter and file do not fit each other, it does not answer, it gives
 * one image several features)
 */
export async function openForeign(
  spec: EncoderSpec,
  options: { engine: Engine; batch: number; size?: Size | undefined; own?: boolean },
): Promise<FrozenEncoder> {
  const path = spec.place;
  const written = spec.options.get('adapter');
  const adapterPath = written ?? adapterFile(path);
  const adapter = readAdapter(adapterPath, path);
  checkDigest(adapterPath, path);
  const own = sizeOf(adapter);
  const size = sizeOption(spec, options.size) ?? own;
  const grid = gridOf(spec.text, size, adapter.patch);
  const { hash, facts } = await readFiles(path, adapter);
  const { engine, batch } = options;
  const by = engine.extractor ?? engine;
  const device = by.name === 'onnx' ? by.device : 'cpu';
  const { threads } = engine;
  const inside = options.own || !canStartProcesses();
  const plan = { adapter, adapterPath, size, grid };
  const model = await (inside ? here : hostForeign)({ path, device, threads, plan });
  try {
    const trial = await model.run(new Uint8Array(size.height * size.width * 3).fill(128), 1);
    const isOwn = size.height === own.height && size.width === own.width;
    const name = specText(spec, { adapter: written, size: isOwn ? undefined : sizeText(size) });
    const run = async (images: Uint8Array, n: number) => featuresOf(await model.run(images, n));
    const notes = options.own ? [] : await testSelf({ name, size, ...facts, run });
    const { normalise } = adapter;
    return {
      name,
      kind: 'onnx',
      ...(notes.length > 0 ? { notes } : {}),
      weightsHash: hash,
      size,
      patch: adapter.patch,
      grid,
      mean: normalise === 'bytes' ? [0, 0, 0] : [...normalise.mean],
      std: normalise === 'bytes' ? [1, 1, 1] : [...normalise.std],
      patchWidth: trial.patches.shape[2]!,
      globalWidth: trial.global ? trial.global.shape[1]! : null,
      registers: trial.registers
        ? { count: trial.registers.shape[1]!, width: trial.registers.shape[2]! }
        : null,
      batch,
      ...busyThreads({ device, ...(threads === undefined ? {} : { threads }) }),
      run: async (images) => {
        checkBytes(name, images, batch * size.height * size.width * 3);
        const found = await model.run(images, batch);
        checkShapes(path, trial, found, batch);
        return featuresOf(found);
      },
      close: () => model.close(),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

/** The model in this process. */
async function here({ path, device, threads, plan }: ForeignRequest): Promise<ForeignModel> {
  const { openOnnxFile } = await import('../engine/onnx/foreign_file.js');
  const { ForeignReader } = await import('./foreign_reader.js');
  const file = await openOnnxFile(path, { device, ...(threads === undefined ? {} : { threads }) });
  try {
    const reader = new ForeignReader(file, plan);
    return { run: (images, n) => reader.run(images, n), close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

const featuresOf = ({ patches, global, registers }: ForeignFeatures): FrozenFeatures => ({
  patches: patches.data,
  ...(global ? { global: global.data } : {}),
  ...(registers ? { registers: registers.data } : {}),
});

/** @throws DataError where features of a batch have another shape than those of the first image had */
function checkShapes(path: string, first: ForeignFeatures, found: ForeignFeatures, batch: number): void {
  for (const part of ['patches', 'global', 'registers'] as const) {
    const [is, was] = [found[part]?.shape ?? [], first[part]?.shape ?? []];
    if (is.slice(1).join() === was.slice(1).join() && (is[0] ?? batch) === batch) continue;
    throw new DataError(`${path} gives ${part} of shape [${is}] now, and gave [${was}] for its first image`, {
      path,
    });
  }
}

const sizeOf = ({ size }: Adapter): Size =>
  typeof size === 'number' ? { height: size, width: size } : { height: size[0], width: size[1] };

/** SHA-256 over the model, the files of external data that it reads, and the adapter (but the size); and what the model says of itself. */
async function readFiles(
  path: string,
  { size, ...adapter }: Adapter,
): Promise<{ hash: string; facts: ModelFacts }> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile()) throw new DataError(`cannot read ${path}: it is no plain file`, { path });
  const bytes = await readFile(path).catch((error: Error) => {
    throw new DataError(`cannot read ${path}: ${error.message}`, { path });
  });
  const facts = await modelFacts(path, bytes);
  const hash = createHash('sha256').update(canonicalJson(adapter)).update(bytes);
  for (const name of facts.files) {
    hash.update(`\n${name}\n`);
    for await (const chunk of createReadStream(join(dirname(path), name))) hash.update(chunk as Uint8Array);
  }
  return { hash: hash.digest('hex'), facts };
}
