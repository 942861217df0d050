// Weights and config of a run folder or of one of its checkpoints, which must fit each other.
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readCheckpoint } from '../checkpoint/file.js';
import { latestCheckpoint } from '../checkpoint/folder.js';
import {
  type CanonicalConfig,
  type Config,
  identity,
  identityDifferences,
  loadConfig,
} from '../config/index.js';
import { DataError } from '../errors.js';
import { EMA, STUDENT, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { encoderParameters } from './program.js';

/** Where the weights of an encoder are, and the config that they were trained with. */
export interface EncoderSource {
  config: Config;
  /** By official name without prefix. */
  weights: Record<string, Float32Array>;
  /** Checkpoint path. */
  origin: string;
  /** Mean and standard deviation that the run normalised pixels with, where they are those of its images. */
  pixels?: { mean: number[]; std: number[] } | undefined;
  /** Identity of the images that it was trained on. */
  data?: string | undefined;
}

/**
 * Weights of a run folder (its newest checkpoint) or of one checkpoint file: what evaluation reads, or `all` of student or EMA.
 * The config is the run's config.yaml, which must say what the checkpoint was trained with; a checkpoint that was taken out of its run has
 * a copy of what decides its numbers.
 * @throws DataError naming what is missing, or the keys of a config that was edited
 */
export async function checkpointEncoder(
  path: string,
  weights: 'ema' | 'student' = 'ema',
  { all = false } = {},
): Promise<EncoderSource> {
  const isFolder = existsSync(path) && statSync(path).isDirectory();
  const file = isFolder ? (await latestCheckpoint(join(path, 'checkpoints')))?.path : path;
  if (!file) throw new DataError(`${path} has no checkpoint yet: train it with capi pretrain --out ${path}`);
  const configFile = join(isFolder ? path : dirname(dirname(path)), 'config.yaml');
  const prefix = weights === 'ema' ? EMA : STUDENT;
  const { tensors, meta } = await readCheckpoint(file, { only: (n) => n.startsWith(prefix) });
  const canonical = meta.config as CanonicalConfig | undefined;
  const config = existsSync(configFile)
    ? uneditedConfig(configFile, canonical, file)
    : storedConfig(file, canonical);
  checkDepth(config, tensors.size, file);
  const out: Record<string, Float32Array> = {};
  const sizes = modelSizes(config);
  for (const [name, shape] of Object.entries(all ? studentShapes(sizes) : encoderParameters(sizes))) {
    const t = tensors.get(prefix + name);
    if (!(t?.data instanceof Float32Array)) throw new DataError(`${file} lacks ${prefix}${name}`);
    if (t.shape.join() !== shape.join()) {
      throw new DataError(
        `${file} does not fit its config: ${prefix}${name} is [${t.shape}], not [${shape}]`,
      );
    }
    out[name] = t.data;
  }
  const pixels = meta.pixels as EncoderSource['pixels'];
  return { config, weights: out, origin: file, pixels, data: canonical?.['data.source'] as string };
}

/**
 * The config in `file`, a run's config.yaml. @throws DataError naming the keys in which it is not the `canonical` one of `owner`, but for
 * the place of the images and the engine
 */
export function uneditedConfig(file: string, canonical: CanonicalConfig | undefined, owner: string): Config {
  const { config } = loadConfig({ preset: file });
  if (!canonical) return config;
  const own = identity(config, { dataIdentity: String(canonical['data.source']) }).canonical;
  const differences = identityDifferences(canonical, own).filter((text) => !text.startsWith('engine.'));
  if (differences.length === 0) return config;
  throw new DataError(
    `${file} was edited: it is not what ${owner} was trained with; what differs: ${differences.join('; ')}. Undo the edit`,
    { differences },
  );
}

/** Refuses a model of more blocks than the file has tensors, before the names of all its tensors are made. @throws DataError */
export function checkDepth({ model }: Config, tensors: number, path: string): void {
  const blocks = model.depth + model.predictor.depth;
  if (blocks <= tensors + 1000) return; // what is missing is then named one by one
  throw new DataError(
    `${path} holds ${tensors} tensors, its config asks for ${blocks} blocks of several each`,
    { path },
  );
}

/** The config inside a checkpoint, where the source of images is known by its hash alone. */
function storedConfig(file: string, canonical: CanonicalConfig | undefined): Config {
  if (!canonical || canonical['data.normalise'] === 'dataset') {
    throw new DataError(
      `${file}: no config.yaml two folders up; name the run folder that the checkpoint belongs to`,
    );
  }
  return loadConfig({ overrides: { ...canonical, 'data.source': undefined } }).config;
}
