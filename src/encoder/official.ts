// Weights under their official names, from a state dict however it was wrapped: matched with the sizes of a config, all faults at once.
import { float32Values } from '../checkpoint/floats.js';
import { PickleDict, type PickleValue } from '../checkpoint/pickle.js';
import { PthReader, TorchTensor } from '../checkpoint/pth.js';
import { DataError } from '../errors.js';
import { type Shapes, studentShapes } from '../model/parameters.js';
import type { ModelSizes } from '../model/sizes.js';
import { SafetensorsReader, type StoredTensor } from '../tensor/safetensors.js';

export type WeightsName = 'ema' | 'student';

/** Tensors of a file by the name that they have there. */
export interface TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, { shape: readonly number[]; read(): Promise<StoredTensor> }>;
  /** Metadata of a safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Keys under which training scripts put a state dict inside what they save. */
const WRAPPERS = ['model', 'state_dict', 'model_state_dict', 'student_ema', 'student', 'teacher'];

/** A PyTorch checkpoint as tensors by name, those of wrapped dicts with the keys of the wrappers before them. */
export async function openPth(path: string): Promise<TensorFile> {
  const reader = await PthReader.open(path);
  const tensors = new Map<string, { shape: readonly number[]; read(): Promise<StoredTensor> }>();
  const visit = (value: PickleValue, prefix: string, depth: number): void => {
    if (!(value instanceof PickleDict)) return;
    for (const [key, item] of value) {
      if (item instanceof TorchTensor) {
        tensors.set(`${prefix}${key}`, { shape: item.shape, read: () => reader.read(item) });
      } else if (depth > 0 && WRAPPERS.includes(String(key))) visit(item, `${prefix}${key}.`, depth - 1);
    }
  };
  visit(reader.root, '', 3);
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

/** Parts of a name that wrappers of torch add: data parallel, compile, FSDP, activation checkpointing. */
const ADDED = /(^|\.)(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)/g;

/**
 * The file's names by official name (`backbone.*`, `head.*`). Of a whole training checkpoint the part `student_ema` or
 * `student` is taken, and the rest (teacher, optimisers) left out; names of a bare backbone get their `backbone.` back.
 */
export function officialNames(names: Iterable<string>, which: WeightsName): Map<string, string> {
  const parts = new Map<string, Map<string, string>>();
  for (const name of names) {
    let short = name.replace(ADDED, '').replace(/^\./, '');
    short = short.replace(/^((model|state_dict|model_state_dict)\.)+/, '');
    const [, part = '', rest] = /^(?:(student_ema|student|teacher)\.)?(.*)$/s.exec(short)!;
    const official = rest!
      .replace(/^(?=(encoder|decoder)\.blocks\.|patch_embed\.|(registers|mask_token)$)/, 'backbone.')
      .replace(/\.parametrizations\.weight\.original0$/, '.weight_g')
      .replace(/\.parametrizations\.weight\.original1$/, '.weight_v');
    if (!parts.has(part)) parts.set(part, new Map());
    parts.get(part)!.set(official, name);
  }
  const order = [
    '',
    which === 'ema' ? 'student_ema' : 'student',
    which === 'ema' ? 'student' : 'student_ema',
  ];
  for (const part of order) {
    const found = parts.get(part);
    if (found && [...found.keys()].some((name) => name.startsWith('backbone.'))) return found;
  }
  return new Map();
}

/**
 * Reads the weights of a model of sizes `s`: those that `only` names, after all names and shapes of the file were checked.
 * The head may be absent, for the encoder does not read it.
 * @throws DataError that lists missing, unexpected and wrongly shaped tensors together, or names one that is not finite
 */
export async function readOfficial(
  file: TensorFile,
  s: ModelSizes,
  options: { which: WeightsName; sizesFrom: string; only?: (name: string) => boolean },
): Promise<Record<string, Float32Array>> {
  const names = officialNames(file.tensors.keys(), options.which);
  const shapes = studentShapes(s);
  checkFit(file, names, shapes, options.sizesFrom);
  const weights: Record<string, Float32Array> = {};
  for (const name of Object.keys(shapes)) {
    const source = names.get(name);
    if (source === undefined || !(options.only?.(name) ?? true)) continue;
    const tensor = await file.tensors.get(source)!.read();
    const values = float32Values(tensor);
    if (!values)
      throw new DataError(`${file.path}: ${source} is ${tensor.dtype}; weights are floating-point`);
    if (!values.every(Number.isFinite)) throw new DataError(`${file.path}: ${source} holds NaN or infinity`);
    weights[name] = values;
  }
  return weights;
}

function checkFit(file: TensorFile, names: Map<string, string>, shapes: Shapes, sizesFrom: string): void {
  if (names.size === 0) {
    const some = [...file.tensors.keys()].slice(0, 3).join(', ');
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
    return `${list.length} ${what} (${list.slice(0, 3).join('; ')}${more})`;
  });
  throw new DataError(`${file.path} does not fit the sizes of ${sizesFrom}: ${text.join(', ')}`, {
    path: file.path,
    missing,
    unexpected,
    wrongShape: wrong,
  });
}
