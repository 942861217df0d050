// Writes an encoder of ours for others: as an ONNX file with its adapter, or as safetensors under official names.
import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { takeLock } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { giveName, partialName, writeFailure, writeWhole } from '../base/files/write.js';
import { canonicalJson } from '../base/hash.js';
import { stream } from '../base/random.js';
import type { StoredTensor } from '../base/safetensors.js';
import { writeSigned } from '../base/signed_tensors.js';
import { exportOnnx } from '../engine/onnx/export.js';
import { OnnxEngine } from '../engine/onnx/session.js';
import { DataError, EngineError, UsageError } from '../errors.js';
import { studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { adapterFile, adapterYaml, digestLine } from './adapter.js';
import { openCapi, placeEncoder } from './capi.js';
import { openForeign } from './foreign.js';
import type { FrozenEncoder } from './frozen.js';
import { EXPORTED, type LoadedEncoder, loadEncoder } from './load.js';

import { encoderProgram } from './program.js';
import { type EncoderSpec, parseEncoderSpec, type Size } from './spec.js';
import type { WeightsName } from './weight_groups.js';

export interface ExportOptions {
  /** FILE.onnx or FILE.safetensors. */
  out: string;
  weights?: WeightsName;
  /** Of an ONNX file; default: the encoder's own. */
  size?: Size;
  /** Replace files that exist. */
  force?: boolean;
  threads?: number;
  /** Hears who else writes the file now. */
  onMessage?(text: string): void;
}

export interface ExportResult {
  /** Spec of the encoder that was exported. */
  encoder: string;
  files: string[];
  bytes: number;
  /** Of the exported ONNX file on random images: largest difference over the largest value, the worst of its outputs. */
  difference?: number;
  size?: Size;
  /** What to say of the weights; see LoadedEncoder. */
  notes: readonly string[];
}

/** Above this an exported file is not the encoder any more: rounding of two float32 programs stays far below. */
const MOST_DIFFERENCE = 1e-4;

/**
 * Exports the encoder that `text` names. An ONNX file takes `images`, normalised float32 [batch, 3, H, W] with an open batch, and
 * gives `global` [batch, E] (unless it is fused), `registers` [batch, R, D] and `feature_map` [batch, rows, columns, D]; it is run and compared with the
 * encoder before it gets its name.
 * @throws UsageError for a kind of encoder or file that cannot be exported, or a file that exists; DataError for a folder that cannot be written
 */
export async function exportEncoder(text: string, options: ExportOptions): Promise<ExportResult> {
  const { out, force = false } = options;
  const kind = /\.(onnx|safetensors)$/.exec(out)?.[1];
  if (!kind) throw new UsageError(`--out ${out}: accepted: FILE.onnx or FILE.safetensors`);
  const folder = dirname(out);
  if (!existsSync(folder)) throw new DataError(`cannot write ${out}: its folder ${folder} does not exist`);
  await checkWritable(folder);
  const files = kind === 'onnx' ? [out, adapterFile(out)] : [out];
  const refuseExisting = (): void => {
    for (const file of files) {
      if (!force && existsSync(file)) {
        throw new UsageError(`${file} exists: name another file with --out, or overwrite it with --force`);
      }
    }
  };
  refuseExisting();
  const spec = parseEncoderSpec(text);
  if (spec.scheme === 'pixels' || spec.scheme === 'position' || spec.place.endsWith('.onnx')) {
    throw new UsageError(`encoder '${text}' is not of our architecture: only such encoders can be exported`);
  }
  const request = options.weights ? { weights: options.weights } : {};
  if (kind === 'safetensors' && (options.size || spec.options.has('size'))) {
    throw new UsageError('a size is for .onnx files: weights in .safetensors serve every size');
  }
  await stat(dirname(out)).catch((error) => {
    throw writeFailure(out, error);
  });
  const lock = await takeLock(`${out}.lock`, {
    doing: 'capi export',
    ...(options.onMessage ? { onWait: options.onMessage } : {}),
  });
  try {
    refuseExisting(); // another process may have written them meanwhile
    if (kind === 'onnx') return await exportToOnnx(await loadEncoder(spec, request), spec, options);
    return await exportToSafetensors(await loadEncoder(spec, { ...request, all: true }), spec, out);
  } finally {
    await lock.release();
  }
}

async function exportToSafetensors(
  loaded: LoadedEncoder,
  spec: EncoderSpec,
  out: string,
): Promise<ExportResult> {
  const { config, mean, std } = loaded;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shape] of Object.entries(studentShapes(modelSizes(config)))) {
    const data = loaded.weights[name];
    if (data) tensors.set(name, { dtype: 'F32', shape, data });
  }
  const { name } = placeEncoder(loaded, spec, undefined);
  const kept = {
    model: config.model,
    clustering: config.clustering,
    data: { normalise: { mean, std } },
  };
  const metadata = { format: EXPORTED, config: canonicalJson(kept), encoder: name };
  const bytes = await writeSigned(out, tensors, metadata);
  return { encoder: name, files: [out], bytes, notes: loaded.notes ?? [] };
}

async function exportToOnnx(
  loaded: LoadedEncoder,
  spec: EncoderSpec,
  options: ExportOptions,
): Promise<ExportResult> {
  const { out } = options;
  const { name, size, sizes } = placeEncoder(loaded, spec, options.size);
  const bytes = exportOnnx({
    name: `capi_encoder_${sizes.dim}x${sizes.depth}_${sizes.height}x${sizes.width}`,
    at: (batch) => encoderProgram(sizes, { batch, planes: true }),
    batchInput: 'images',
    weights: loaded.weights,
  });
  const { mean, std } = loaded;
  const adapter = adapterYaml({
    input: { name: 'images', layout: 'nchw' },
    size: size.height === size.width ? size.height : [size.height, size.width],
    patch: sizes.patch,
    normalise: { mean: mean as [number, number, number], std: std as [number, number, number] },
    outputs: {
      ...(sizes.predictor === 'fused' ? {} : { global: { output: 'global' } }),
      ...(sizes.registers > 0 ? { registers: { output: 'registers' } } : {}),
      patches: { output: 'feature_map', layout: 'nhwc' },
    },
  });
  const text = `# Of capi export ${name}\n${adapter}`;
  const files = [out, adapterFile(out)] as const;
  const texts = [bytes, `${digestLine(bytes, text)}${text}`];
  const partials = files.map(partialName) as [string, string];
  try {
    for (const [i, partial] of partials.entries()) await writeWhole(partial, texts[i]!);
    const difference = await compare(loaded, spec, { ...options, files: partials });
    for (const [i, file] of files.entries()) await giveName(partials[i]!, file);
    return {
      encoder: name,
      files: [...files],
      bytes: bytes.length,
      difference,
      size,
      notes: loaded.notes ?? [],
    };
  } catch (error) {
    for (const partial of partials) await rm(partial, { force: true }).catch(() => {});
    throw error;
  }
}

/** Largest relative difference between the encoder and the file, both on onnxruntime, on two random images. */
async function compare(
  loaded: LoadedEncoder,
  spec: EncoderSpec,
  options: ExportOptions & { files: readonly [string, string] },
): Promise<number> {
  const { size } = options;
  const batch = 2;
  const engine = new OnnxEngine(options.threads === undefined ? {} : { threads: options.threads });
  const [file, adapter] = options.files;
  const written: EncoderSpec = {
    scheme: 'path',
    place: file,
    options: new Map([['adapter', adapter]]),
    text: file,
  };
  const opened: FrozenEncoder[] = [];
  try {
    opened.push(await openCapi(loaded, spec, { engine, batch, size }));
    opened.push(await openForeign(written, { engine, batch, own: true }));
    const { height, width } = opened[0]!.size;
    const noise = stream(0, 'export').fillUniform(new Float32Array(batch * height * width * 3), 0, 256);
    const [a, b] = await Promise.all(opened.map((e) => e.run(Uint8Array.from(noise))));
    const worst = Math.max(
      ...(['global', 'registers', 'patches'] as const).map((k) => relativeDifference(b![k], a![k])),
    );
    if (worst < MOST_DIFFERENCE) return worst;
    throw new EngineError(
      `the exported model differs from ${spec.text} by ${worst.toExponential(1)} of its largest value: nothing was written`,
    );
  } finally {
    for (const encoder of opened) await encoder.close();
  }
}

/** Largest absolute difference over the largest magnitude of `b`; infinite for other lengths or NaN. */
function relativeDifference(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (!a && !b) return 0;
  if (a?.length !== b?.length) return Number.POSITIVE_INFINITY;
  let [largest, worst] = [0, 0];
  for (let i = 0; i < b!.length; i++) {
    largest = Math.max(largest, Math.abs(b![i]!));
    const d = Math.abs(a![i]! - b![i]!);
    worst = d <= worst ? worst : Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return worst / (largest || 1);
}
