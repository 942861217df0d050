// What the heads read: the feature sources of the protocol, made from the features of an encoder.
import type { FrozenEncoder, FrozenFeatures } from '../encoder/frozen.js';

/** Feature sources by name; the first four are the official ones. */
export const SOURCE_NAMES = [
  'global',
  'average_patch',
  'global+average_patch',
  'patches',
  'average_register',
  'concatenated_registers',
  'registers',
] as const;
export type SourceName = (typeof SOURCE_NAMES)[number];

/** One feature source: vectors [n, width], or tokens [n, tokens, width], which attentive pooling pools. */
export interface FeatureSource {
  readonly name: string;
  readonly width: number;
  /** null: one vector a sample, and a linear head. */
  readonly tokens: number | null;
}

/** Features by source name, row-major. */
export type SourceFeatures = Record<string, Float32Array>;

type Shape = Pick<FrozenEncoder, 'globalWidth' | 'patchWidth' | 'grid' | 'registers'>;

/** Those of the named sources that an encoder has, in the order of the names. Protocol: "Image classification". */
export function featureSources(encoder: Shape, names: readonly SourceName[]): FeatureSource[] {
  const { globalWidth, patchWidth, grid, registers } = encoder;
  const vector = (name: SourceName, width: number): FeatureSource => ({ name, width, tokens: null });
  const all: (FeatureSource | null)[] = [
    globalWidth === null ? null : vector('global', globalWidth),
    vector('average_patch', patchWidth),
    globalWidth === null ? null : vector('global+average_patch', globalWidth + patchWidth),
    { name: 'patches', width: patchWidth, tokens: grid.rows * grid.columns },
    registers && vector('average_register', registers.width),
    registers && vector('concatenated_registers', registers.count * registers.width),
    registers && { name: 'registers', width: registers.width, tokens: registers.count },
  ];
  return names.flatMap((name) => all.find((source) => source?.name === name) ?? []);
}

/**
 * The sources' features of the first `count` images of a batch, from what the encoder gave for it.
 * @throws RangeError when a source needs what was not given
 */
export function sourceFeatures(
  encoder: Shape,
  features: FrozenFeatures,
  sources: readonly FeatureSource[],
  count: number,
): SourceFeatures {
  const { patchWidth, grid, registers } = encoder;
  const part = (name: keyof FrozenFeatures, perImage: number): Float32Array => {
    const values = features[name];
    if (!values || values.length < count * perImage) {
      throw new RangeError(
        `${count} images need ${count * perImage} values of ${name}, not ${values?.length ?? 0}`,
      );
    }
    return values.subarray(0, count * perImage);
  };
  const patches = () => part('patches', grid.rows * grid.columns * patchWidth);
  const registerTokens = () => part('registers', registers!.count * registers!.width);
  const averagePatch = () => meanTokens(patches(), count, patchWidth);
  const make: Record<string, () => Float32Array> = {
    global: () => part('global', encoder.globalWidth!),
    average_patch: averagePatch,
    'global+average_patch': () => joined(part('global', encoder.globalWidth!), averagePatch(), count),
    patches,
    average_register: () => meanTokens(registerTokens(), count, registers!.width),
    concatenated_registers: registerTokens,
    registers: registerTokens,
  } satisfies Record<SourceName, () => Float32Array>;
  return Object.fromEntries(
    sources.map(({ name }) => {
      const values = make[name];
      if (!values) throw new RangeError(`no feature source is called ${name}`);
      return [name, values()];
    }),
  );
}

/** [count, tokens, width] -> [count, width]. */
function meanTokens(tokens: Float32Array, count: number, width: number): Float32Array {
  const out = new Float32Array(count * width);
  const perImage = tokens.length / (count * width);
  const sum = new Float64Array(width);
  for (let i = 0; i < count; i++) {
    sum.fill(0);
    for (let t = 0, at = i * perImage * width; t < perImage; t++) {
      for (let c = 0; c < width; c++, at++) sum[c]! += tokens[at]!;
    }
    for (let c = 0; c < width; c++) out[i * width + c] = sum[c]! / perImage;
  }
  return out;
}

/** Rows of two matrices side by side. */
function joined(a: Float32Array, b: Float32Array, count: number): Float32Array {
  const [widthA, widthB] = [a.length / count, b.length / count];
  const out = new Float32Array(a.length + b.length);
  for (let i = 0; i < count; i++) {
    out.set(a.subarray(i * widthA, (i + 1) * widthA), i * (widthA + widthB));
    out.set(b.subarray(i * widthB, (i + 1) * widthB), i * (widthA + widthB) + widthA);
  }
  return out;
}
