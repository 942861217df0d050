// What an ONNX model says of itself before it is run: the files of weights that it reads, impossible tensors, and nodes in training mode.
import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import onnxProto from 'onnx-proto';
import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };
type Graph = import('onnx-proto').onnx.IGraphProto;
type Node = import('onnx-proto').onnx.INodeProto;
type Tensor = import('onnx-proto').onnx.ITensorProto;

const EXTERNAL = 1; // TensorProto.DataLocation
/** Bits of an element by TensorProto.DataType; strings and types that are not known have none. */
const BITS: Record<number, number> = Object.fromEntries(
  [
    [32, [1, 6, 12]],
    [8, [2, 3, 9, 17, 18, 19, 20, 24]],
    [16, [4, 5, 10, 16]],
    [64, [7, 11, 13, 14]],
    [128, [15]],
    [4, [21, 22, 23]],
  ].flatMap(([bits, types]) => (types as number[]).map((type) => [type, bits as number])),
);
/** Half precision, bfloat16, and the floats of 8 and 4 bits. */
const REDUCED = new Set([10, 16, 17, 18, 19, 20, 23, 24]);

/** What a model says. */
export interface ModelFacts {
  /** Files that its tensors lie in beside it, relative to its folder, sorted, each once. */
  readonly files: string[];
  /** It computes in 16 or 8 bits somewhere. */
  readonly reduced: boolean;
  /** `2 Dropout in training mode`, `1 RandomNormal`: why two runs of it may differ. */
  readonly suspects: string[];
}

/**
 * Reads a model's facts from its bytes: of its initialisers, sparse ones, constants, functions, and the branches and bodies of If, Loop and Scan.
 * @throws DataError, naming `path`, for bytes that are no model, sizes that no tensor has, and external data that is not a file beside it
 * that holds them
 */
export async function modelFacts(path: string, bytes: Uint8Array): Promise<ModelFacts> {
  let model: InstanceType<typeof onnx.ModelProto>;
  try {
    model = onnx.ModelProto.decode(bytes);
  } catch (error) {
    throw new DataError(`${path} is no ONNX file: ${shown((error as Error).message)}`, { path });
  }
  const seen = new Walk(path);
  if (!model.graph) throw new DataError(`${path} is no ONNX file: it has no graph`, { path });
  seen.graph(model.graph);
  for (const { node } of model.functions ?? []) for (const n of node ?? []) seen.node(n);
  await checkFiles(path, seen.external);
  return {
    files: [...new Set(seen.external.map(({ location }) => location))].sort(),
    reduced: seen.reduced,
    suspects: [...seen.suspects].map(([what, n]) => `${n} ${what}`),
  };
}

interface External {
  readonly tensor: string;
  readonly location: string;
  readonly offset: number;
  /** Bytes that the tensor takes. */
  readonly bytes: number;
}

class Walk {
  readonly external: External[] = [];
  readonly suspects = new Map<string, number>();
  reduced = false;

  constructor(private readonly path: string) {}

  graph(graph: Graph): void {
    for (const tensor of graph.initializer ?? []) this.tensor(tensor);
    for (const { values, indices } of graph.sparseInitializer ?? []) {
      if (values) this.tensor(values);
      if (indices) this.tensor(indices);
    }
    for (const node of graph.node ?? []) this.node(node);
  }

  node({ opType, input, attribute }: Node): void {
    const type = opType ?? '';
    const whole = (name: string): number => Number(attribute?.find((a) => a.name === name)?.i ?? 0);
    if (type === 'Dropout' && (input?.[2] ?? '') !== '') this.suspect('Dropout with a training mode');
    if (type === 'BatchNormalization' && whole('training_mode') === 1)
      this.suspect('BatchNormalization in training mode');
    if (/^(Random(Normal|Uniform)(Like)?|Bernoulli|Multinomial)$/.test(type)) this.suspect(type);
    if (type === 'DynamicQuantizeLinear')
      this.suspect('DynamicQuantizeLinear (its scale is that of the whole batch)');
    if (/Quant|Integer$/.test(type) || (type === 'Cast' && REDUCED.has(whole('to')))) this.reduced = true;
    for (const { t, g, tensors, graphs, sparseTensor, sparseTensors } of attribute ?? []) {
      for (const tensor of [t, ...(tensors ?? [])]) if (tensor) this.tensor(tensor);
      for (const sparse of [sparseTensor, ...(sparseTensors ?? [])]) {
        if (sparse?.values) this.tensor(sparse.values);
        if (sparse?.indices) this.tensor(sparse.indices);
      }
      for (const inner of [g, ...(graphs ?? [])]) if (inner) this.graph(inner);
    }
  }

  private suspect(what: string): void {
    this.suspects.set(what, (this.suspects.get(what) ?? 0) + 1);
  }

  private tensor({ name, dims, dataType, dataLocation, externalData }: Tensor): void {
    const called = shown(name || 'without a name');
    const sizes = (dims ?? []).map(Number);
    const elements = sizes.reduce((n, d) => n * d, 1);
    if (sizes.some((d) => !(d >= 0)) || !Number.isSafeInteger(elements)) {
      throw new DataError(`${this.path} is damaged: tensor ${called} has the sizes [${sizes}]`, {
        path: this.path,
      });
    }
    if (REDUCED.has(dataType ?? 0)) this.reduced = true;
    if (dataLocation !== EXTERNAL) return;
    const value = (key: string): string | null | undefined =>
      externalData?.find((entry) => entry.key === key)?.value;
    const whole = (key: string): number | undefined => {
      const text = value(key);
      if (text === undefined || text === null || text === '') return undefined;
      if (/^\d{1,15}$/.test(text)) return Number(text);
      throw new DataError(
        `${this.path} is damaged: tensor ${called} has the ${key} '${shown(text)}' in its file`,
        {
          path: this.path,
        },
      );
    };
    const bits = BITS[dataType ?? 0];
    const bytes = bits === undefined ? 0 : Math.ceil((elements * bits) / 8);
    const length = whole('length');
    if (bits !== undefined && length !== undefined && length !== bytes) {
      throw new DataError(
        `${this.path} is damaged: tensor ${called} of sizes [${sizes}] takes ${bytes} bytes, its external data has ${length}`,
        { path: this.path },
      );
    }
    this.external.push({
      tensor: called,
      location: value('location') ?? '',
      offset: whole('offset') ?? 0,
      bytes,
    });
  }
}

/** Refuses external data that lies elsewhere, is no plain file (a folder, a pipe, a device), or ends before its tensors do. */
async function checkFiles(path: string, external: readonly External[]): Promise<void> {
  const sizes = new Map<string, number>();
  for (const { tensor, location, offset, bytes } of external) {
    const fail = (what: string): DataError =>
      new DataError(
        `${path} keeps tensor ${tensor} in ${shown(location) || 'a file without a name'}, ${what}`,
        { path },
      );
    const inside = location !== '' && !isAbsolute(location) && !/^\.\.([\\/]|$)/.test(normalize(location));
    if (!inside || location.includes('\0'))
      throw fail('which is not beside it: only files in its own folder are read');
    if (!sizes.has(location)) {
      const file = await stat(join(dirname(path), location)).catch(() => undefined);
      if (!file) throw fail('which is not there');
      if (!file.isFile()) throw fail('which is no plain file');
      sizes.set(location, file.size);
    }
    const size = sizes.get(location)!;
    if (offset + bytes > size) throw fail(`at bytes ${offset} to ${offset + bytes}; the file has ${size}`);
  }
}
