// Weights under their official names, from a state dict however it was wrapped: matched with the sizes of a config, all faults at once.

import { PickleDict, type PickleValue } from '../base/pickle/pickle.js';
import { SafetensorsReader, type StoredTensor } from '../base/safetensors.js';
import { shown } from '../base/text.js';
import { float32Values } from '../checkpoint/floats.js';
import { PthReader, TorchTensor } from '../checkpoint/pth.js';
import { DataError } from '../errors.js';
import { type Shapes, studentShapes } from '../model/parameters.js';
import type { ModelSizes } from '../model/sizes.js';
import { officialNames, type WeightsName } from './weight_groups.js';

/** Tensors of a file by the name that they have there. */
export interface TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, { shape: readonly number[]; read(): Promise<StoredTensor> }>;
  /** Metadata of a safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Dicts in dicts that are looked into, and entries that are looked at, at most: a pickle may name one dict a million times. */
const MOST_NESTED = 5;
const MOST_ENTRIES = 2_000_000;

/** A PyTorch checkpoint as tensors by name, those of dicts in dicts with the keys of the outer ones before them. */
export async function openPth(path: string): Promise<TensorFile> {
  const reader = await PthReader.open(path);
  const tensors = new Map<string, { shape: readonly number[]; read(): Promise<StoredTensor> }>();
  let entries = 0;
  const visit = (value: PickleValue, prefix: string, depth: number): void => {
    if (!(value instanceof PickleDict)) return;
    for (const [key, item] of value) {
      if (++entries > MOST_ENTRIES) {
        throw new DataError(
          `${path} holds more than ${MOST_ENTRIES} entries in its dicts: it is no state dict`,
        );
      }
      if (item instanceof TorchTensor) {
        tensors.set(`${prefix}${key}`, { shape: item.shape, read: () => reader.read(item) });
      } else if (depth > 0) visit(item, `${prefix}${key}.`, depth - 1);
    }
  };
  try {
    visit(reader.root, '', MOST_NESTED);
  } catch (error) {
    await reader.close();
    throw error;
  }
  return { path, tensors, metadata: {}, close: () => reader.close() };
}

/** A safetensors file as tensors by name. */
export async function openSafetensors(path: string): Promise<TensorFile> {
  const reader = await SafetensorsReader.open(path);
  const tensors = new Map(
    reader.names().map((name) => [name, { shape: reader.shape(name), read: () => reader.read(name) }]),
  );
  return { path, tensors, metadata: reader.metadata, close: () => reader.close() };
}

/** Of weights that are exactly 0, the share from which it is said. */
const MANY_ZEROS = 0.01;

/**
 * Reads the weights of a model of sizes `s`: those that `only` names, after all names and shapes of the file were checked.
 * The head may be absent, for the encoder does not read it. `notes` say which model of the file was taken, and what is odd about it.
 * @throws DataError that lists missing, unexpected and wrongly shaped tensors together, or names one that is not finite or was never filled
 */
export async function readOfficial(
  file: TensorFile,
  s: ModelSizes,
  options: { which: WeightsName; sizesFrom: string; only?: (name: string) => boolean },
): Promise<{ weights: Record<string, Float32Array>; notes: string[] }> {
  const { names, notes } = officialNames(file.path, file.tensors.keys(), options.which);
  const shapes = studentShapes(s);
  checkFit(file, names, shapes, options.sizesFrom);
  const weights: Record<string, Float32Array> = {};
  for (const name of Object.keys(shapes)) {
    const source = names.get(name);
    if (source === undefined || !(options.only?.(name) ?? true)) continue;
    const tensor = await file.tensors.get(source)!.read();
    const values = float32Values(tensor);
    if (!values) {
      throw new DataError(
        `${file.path}: ${shown(source)} is ${tensor.dtype}; read are F64, F32, F16 and BF16`,
      );
    }
    weights[name] = values;
  }
  return { weights, notes: [...notes, ...checkWeights(file.path, weights, names)] };
}

/**
 * Refuses weights that no training gives: NaN, infinity, and matrices or norms that were never filled.
 * @returns a line about weights of which many are exactly 0 @throws DataError naming the tensors as the file does
 */
export function checkWeights(
  path: string,
  weights: Record<string, Float32Array>,
  names: ReadonlyMap<string, string>,
): string[] {
  const called = (name: string): string => shown(names.get(name) ?? name);
  const unfilled: string[] = [];
  let [zeros, all] = [0, 0];
  for (const [name, values] of Object.entries(weights)) {
    if (!values.every(Number.isFinite)) {
      throw new DataError(`${path}: ${called(name)} holds NaN or infinity`, { path });
    }
    // Tokens, tables of positions and biases may well be 0; a product with a matrix of zeros, or of one value, is no layer.
    if (!/(\.weight|\.freqs|weight_[gv])$/.test(name)) continue;
    const isNorm = /norm\.weight$|weight_g$/.test(name);
    const first = values[0] ?? 0;
    if ((first === 0 || (!isNorm && values.length > 1)) && values.every((v) => v === first)) {
      unfilled.push(`${called(name)}: ${first}`);
    }
    if (isNorm || name.endsWith('.freqs')) continue;
    for (const v of values) if (v === 0) zeros++;
    all += values.length;
  }
  if (unfilled.length > 0) {
    const more = unfilled.length > 3 ? `; and ${unfilled.length - 3} more` : '';
    throw new DataError(
      `${path} was never filled with weights: ${unfilled.length} of its ${Object.keys(weights).length} tensors hold one value alone (${unfilled.slice(0, 3).join('; ')}${more})`,
      { path, unfilled },
    );
  }
  const share = zeros / Math.max(1, all);
  return share > MANY_ZEROS ? [`${(100 * share).toFixed(1)} % of the weights in ${path} are exactly 0`] : [];
}

function checkFit(file: TensorFile, names: Map<string, string>, shapes: Shapes, sizesFrom: string): void {
  if (names.size === 0) {
    const some = shown([...file.tensors.keys()].slice(0, 3).join(', '));
    throw new DataError(
      `${file.path} holds no CAPI backbone: none of its ${file.tensors.size} tensors is named backbone.*${some ? ` (it has ${some}, ...)` : ''}`,
    );
  }
  const missing = Object.keys(shapes).filter((n) => !names.has(n) && !n.startsWith('head.'));
  const unexpected: string[] = [];
  const wrong: string[] = [];
  for (const [name, source] of names) {
    const is = file.tensors.get(source)!.shape;
    const should = shapes[name];
    if (should === undefined) {
      if (!is.includes(0)) unexpected.push(name); // a model without registers may keep an empty tensor of them
    } else if (is.join() !== should.join()) wrong.push(`${name} is [${is}], should be [${should}]`);
  }
  const groups = [
    ['missing', missing],
    ['unexpected', unexpected],
    ['of another shape', wrong],
  ] as const;
  const faults = groups.filter(([, list]) => list.length > 0);
  if (faults.length === 0) return;
  const text = faults.map(([what, list]) => {
    const more = list.length > 3 ? `; and ${list.length - 3} more` : '';
    return `${list.length} ${what} (${shown(list.slice(0, 3).join('; '))}${more})`;
  });
  throw new DataError(`${file.path} does not fit the sizes of ${sizesFrom}: ${text.join(', ')}`, {
    path: file.path,
    missing,
    unexpected,
    wrongShape: wrong,
  });
}
