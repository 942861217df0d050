// Weights and config of an encoder of ours: from a run, a checkpoint, an official .pth, an exported file, or drawn at random.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SafetensorsReader } from '../base/safetensors.js';
import { checkSigned } from '../base/signed_tensors.js';
import { type CanonicalConfig, type Config, checkSizes, loadConfig, parseConfig } from '../config/index.js';
import { DataError, UsageError } from '../errors.js';
import { IMAGENET, openSource, pixelStatistics } from '../images/index.js';
import { checkFits } from '../model/memory.js';
import { initialParameters, STUDENT, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { checkWeights, openPth, openSafetensors, readOfficial, type TensorFile } from './official.js';
import { encoderParameters } from './program.js';
import { checkDepth, checkpointEncoder, type EncoderSource, uneditedConfig } from './run_weights.js';
import { type EncoderSpec, KNOWN_ENCODERS, wholeOption } from './spec.js';
import type { WeightsName } from './weight_groups.js';

/** An encoder of our architecture before it is given a size and an engine. */
export interface LoadedEncoder {
  readonly kind: 'capi' | 'random';
  readonly config: Config;
  /** By official name without prefix: what evaluation reads, or all of student (`all`); head.* where the file has it. */
  readonly weights: Record<string, Float32Array>;
  /** Place of the canonical spec, and its options but the size. */
  readonly place: string;
  readonly options: Record<string, string | number | undefined>;
  /** Of the pixels, in [0, 1] units. */
  readonly mean: number[];
  readonly std: number[];
  /** What to say of the weights: which model of the file was taken, and what is odd about it. */
  readonly notes?: readonly string[];
}

/** `format` of the safetensors files that capi export writes. */
export const EXPORTED = 'capi-encoder-2';
/** Without a checksum. */
const EXPORTED_BEFORE = 'capi-encoder-1';

/**
 * Loads the encoder that a `random:` or path spec names (not an ONNX file). `all` reads the whole student, for export.
 * @throws UsageError for a spec that cannot be understood, DataError for a file that cannot be used
 */
export async function loadEncoder(
  spec: EncoderSpec,
  request: { weights?: WeightsName; all?: boolean } = {},
): Promise<LoadedEncoder> {
  if (spec.scheme === 'random') return randomWeights(spec, request.all ?? false);
  const named = spec.options.get('weights');
  if (named !== undefined && named !== 'ema' && named !== 'student') {
    throw new UsageError(`encoder '${spec.text}' has weights=${named}; accepted: ema, student`);
  }
  const which: WeightsName = named ?? request.weights ?? 'ema';
  const path = spec.place;
  if (!existsSync(path)) throw new UsageError(`no encoder '${spec.text}': accepted: ${KNOWN_ENCODERS}`);
  const options = which === 'student' ? { weights: which } : {};
  if (statSync(path).isDirectory() || (await isCheckpoint(path))) {
    refusePreset(spec);
    const found = await checkpointEncoder(path, which, request);
    const { config, weights, origin } = found;
    const notes = checkWeights(origin, weights, new Map());
    return { kind: 'capi', config, weights, place: origin, options, notes, ...(await statisticsOf(found)) };
  }
  const file = await openTensors(path);
  try {
    const preset = spec.options.get('preset');
    const config = checkedModel(preset === undefined ? storedConfig(file) : presetConfig(preset));
    checkDepth(config, file.tensors.size, path);
    const read = Object.keys(encoderParameters(modelSizes(config)));
    const { weights, notes } = await readOfficial(file, modelSizes(config), {
      which,
      sizesFrom: preset ?? 'its own config',
      ...(request.all ? {} : { only: (name) => read.includes(name) }),
    });
    const place = { place: path, options: { ...options, preset } };
    return { kind: 'capi', config, weights, notes, ...place, ...(await statistics(config)) };
  } finally {
    await file.close();
  }
}

async function isCheckpoint(path: string): Promise<boolean> {
  if (!path.endsWith('.safetensors')) return false;
  const reader = await SafetensorsReader.open(path);
  await reader.close();
  return reader.metadata.format?.startsWith('capi-checkpoint') ?? false;
}

async function openTensors(path: string): Promise<TensorFile> {
  if (path.endsWith('.safetensors')) {
    await checkSigned(path);
    return openSafetensors(path);
  }
  if (/\.(pth|pt|bin|ckpt)$/.test(path)) return openPth(path);
  throw new UsageError(`encoder ${path} is of no known kind; accepted: ${KNOWN_ENCODERS}`);
}

function refusePreset(spec: EncoderSpec): void {
  if (!spec.options.has('preset')) return;
  throw new UsageError(`encoder '${spec.text}': a run has its own config; leave preset out`);
}

/** The config that capi export stored with the weights. */
function storedConfig(file: TensorFile): Config {
  const { format, config } = file.metadata;
  if ((format === EXPORTED || format === EXPORTED_BEFORE) && config !== undefined) {
    return parseConfig(jsonOf(config, file.path), `${file.path}, metadata`);
  }
  throw new UsageError(
    `${file.path} does not say its sizes: name the preset that does, ${file.path}?preset=vit-l-14 or ?preset=FILE.yaml`,
  );
}

function jsonOf(text: string, path: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
    throw new Error('no object');
  } catch {
    throw new DataError(
      `${path} is damaged: the config in its metadata is no JSON object. Export it again.`,
      { path },
    );
  }
}

function presetConfig(preset: string): Config {
  if (preset === '') throw new UsageError("option preset is empty; accepted: a preset's name or a YAML file");
  return loadConfig({ preset, modelOnly: true }).config;
}

/** Refuses model sizes that do not fit together; what concerns training alone is left out. */
function checkedModel(config: Config): Config {
  const engine = { ...config.engine, teacher_micro_batches: null, student_micro_batches: null };
  checkSizes({ ...config, engine, masking: { ...config.masking, ratio: 0.999, predict: 1 } });
  checkFits(studentShapes(modelSizes(config)), 'the encoder');
  return config;
}

/**
 * Channel mean and standard deviation that a checkpoint was trained with. @throws DataError where they are those of its training images,
 * older than the checkpoints that hold them, and those images are others now
 */
async function statisticsOf(
  found: Pick<EncoderSource, 'config' | 'pixels' | 'data' | 'origin'>,
): Promise<{ mean: number[]; std: number[] }> {
  const { config, pixels, data, origin } = found;
  if (config.data.normalise !== 'dataset' || data === undefined) return statistics(config);
  if (pixels) return pixels;
  const own = await statistics(config);
  const source = await openSource(config.data.source, { split: 'train' });
  if (data !== (await source.formerIdentity?.()) && data !== (await source.identity())) {
    throw new DataError(
      `${origin} normalises pixels with the statistics of its training images, but those of ${source.uri} are others now`,
    );
  }
  return own;
}

/** Channel mean and standard deviation of the config's normalisation; `dataset` reads the run's training images. */
async function statistics(config: Config): Promise<{ mean: number[]; std: number[] }> {
  const { normalise, source } = config.data;
  if (normalise === 'imagenet') return { mean: [...IMAGENET.mean], std: [...IMAGENET.std] };
  if (normalise !== 'dataset') return normalise;
  try {
    return await pixelStatistics(normalise, await openSource(source, { split: 'train' }));
  } catch (error) {
    throw new DataError(
      `this encoder normalises pixels with the statistics of its training images, ${source}, which cannot be read: ${(error as Error).message}`,
    );
  }
}

/** The config of a run folder, which its identity must bear out. @throws DataError */
function runConfig(folder: string): Config {
  const [file, who] = [join(folder, 'config.yaml'), join(folder, 'identity.json')];
  let canonical: CanonicalConfig | undefined;
  try {
    canonical = existsSync(who) ? JSON.parse(readFileSync(who, 'utf8')).canonical : undefined;
  } catch (error) {
    throw new DataError(`${who} is damaged (${(error as Error).message}): restore it`);
  }
  return uneditedConfig(file, canonical, folder);
}

/** `random:PRESET`, `random:FILE.yaml` or `random:RUN`: the architecture of that config, as it is before training. */
async function randomWeights(spec: EncoderSpec, all: boolean): Promise<LoadedEncoder> {
  if (spec.place === '') {
    throw new UsageError(`encoder '${spec.text}' names no preset; for example random:vit-s-14?seed=1`);
  }
  const isRun = existsSync(join(spec.place, 'config.yaml'));
  const config = checkedModel(isRun ? runConfig(resolve(spec.place)) : presetConfig(spec.place));
  const seed = wholeOption(spec, 'seed', 0) ?? config.seed;
  const sizes = modelSizes(config);
  const initial = initialParameters(sizes, seed);
  const names = Object.keys(all ? studentShapes(sizes) : encoderParameters(sizes));
  const weights = Object.fromEntries(names.map((name) => [name, initial[STUDENT + name]!]));
  const name = { place: spec.place, options: { seed } };
  return { kind: 'random', config, weights, ...name, ...(await statistics(config)) };
}
