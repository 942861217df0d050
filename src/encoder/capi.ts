// An encoder of our architecture, frozen: its weights built into the program, at any size that its patch divides.

import { canonicalJson, sha256 } from '../base/hash.js';
import { imageSize } from '../config/index.js';
import type { Engine } from '../engine/program.js';
import { type ModelSizes, modelSizes } from '../model/sizes.js';
import { busyThreads, inParts, streamsOf } from './chunks.js';
import { checkBytes } from './floors.js';
import type { FrozenEncoder } from './frozen.js';
import type { LoadedEncoder } from './load.js';
import { encoderParameters, encoderProgram } from './program.js';
import { type EncoderSpec, gridOf, type Size, sizeOption, sizeText, specText } from './spec.js';

/** Size that a loaded encoder runs at, its model sizes there, and the spec that opens it so again. */
export function placeEncoder(
  loaded: LoadedEncoder,
  spec: EncoderSpec,
  asked: Size | undefined,
): { size: Size; sizes: ModelSizes; name: string } {
  const [height, width] = imageSize(loaded.config);
  const size = sizeOption(spec, asked) ?? { height, width };
  gridOf(spec.text, size, loaded.config.model.patch_size);
  const own = size.height === height && size.width === width;
  const { place, options } = loaded;
  return {
    size,
    sizes: modelSizes(loaded.config, [size.height, size.width]),
    name: specText({ scheme: spec.scheme, place }, { ...options, size: own ? undefined : sizeText(size) }),
  };
}

/**
 * SHA-256 over architecture, normalisation and the weights that evaluation reads: the same for the same encoder in another
 * file or at another size.
 */
export function weightsHash(loaded: LoadedEncoder, sizes: ModelSizes): string {
  const { height, width, gridHeight, gridWidth, patches, ...rest } = sizes;
  // Rotary frequencies are among the weights; head and later predictor blocks are not read.
  const { ropeMin, ropeMax, prototypes, clusteringBias, predictorDepth, ...read } = rest;
  // What the names and shapes of the weights say already, or what only training reads.
  const { predictor, positions, tableHeight, tableWidth, clustered, head, ...architecture } = read;
  const { mean, std } = loaded;
  const parts: (string | Uint8Array)[] = [canonicalJson({ architecture, mean, std })];
  for (const name of Object.keys(encoderParameters(sizes))) {
    const { buffer, byteOffset, byteLength } = loaded.weights[name]!;
    parts.push(`\n${name}\n`, new Uint8Array(buffer, byteOffset, byteLength));
  }
  return sha256(...parts);
}

/** Loads the program of an encoder on an engine; a batch goes through it in parts that fit the cache (see streamsOf). */
export async function openCapi(
  loaded: LoadedEncoder,
  spec: EncoderSpec,
  options: { engine: Engine; batch: number; size?: Size | undefined },
): Promise<FrozenEncoder> {
  const { size, sizes, name } = placeEncoder(loaded, spec, options.size);
  const { mean, std } = loaded;
  const { batch } = options;
  const fixed = Object.fromEntries(Object.keys(encoderParameters(sizes)).map((n) => [n, loaded.weights[n]!]));
  const { images: atOnce, streams } = streamsOf(sizes, batch, options.engine);
  const program = { ...encoderProgram(sizes, { batch: atOnce, mean, std }), streams };
  const executable = await options.engine.load(program, fixed);
  return {
    name,
    kind: loaded.kind,
    weightsHash: weightsHash(loaded, sizes),
    size,
    patch: sizes.patch,
    grid: { rows: sizes.gridHeight, columns: sizes.gridWidth },
    mean,
    std,
    patchWidth: sizes.dim,
    globalWidth: sizes.predictor === 'fused' ? null : sizes.predictorDim,
    registers: sizes.registers > 0 ? { count: sizes.registers, width: sizes.dim } : null,
    batch,
    ...(loaded.notes?.length ? { notes: loaded.notes } : {}),
    ...busyThreads(options.engine),
    run: async (images) => {
      checkBytes(name, images, batch * size.height * size.width * 3);
      const out = await inParts(
        images,
        { parts: batch / atOnce, streams },
        async (part) => (await executable.run({ images: part })) as Record<string, Float32Array>,
      );
      const features = {
        ...(out.global ? { global: out.global } : {}),
        patches: out.feature_map!,
      };
      return out.registers ? { ...features, registers: out.registers } : features;
    },
    close: () => executable.dispose(),
  };
}
