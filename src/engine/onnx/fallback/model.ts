// What the fallback check reads of an ONNX model: nodes with their attributes, and the element types that the file states.
import onnxProto from 'onnx-proto';
import { DataError } from '../../../errors.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };

/** TensorProto.DataType by its number, in the words of onnxruntime's list of kernels. */
const ELEMENT_TYPES: Readonly<Record<number, string>> = {
  1: 'float',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  10: 'float16',
  11: 'double',
  12: 'uint32',
  13: 'uint64',
  14: 'complex64',
  15: 'complex128',
  16: 'bfloat16',
  17: 'float8e4m3fn',
  18: 'float8e4m3fnuz',
  19: 'float8e5m2',
  20: 'float8e5m2fnuz',
};

export const elementTypeOf = (code: number): string => ELEMENT_TYPES[code] ?? `type ${code}`;
export const isElementType = (word: string): boolean => Object.values(ELEMENT_TYPES).includes(word);

export interface ModelNode {
  name: string;
  /** `ai.onnx` for the standard one. */
  domain: string;
  op: string;
  /** Empty where an optional one is left out. */
  inputs: string[];
  outputs: string[];
  /** Whole-number attributes. */
  ints: Readonly<Record<string, number>>;
  /** Element type of a tensor attribute. */
  tensor?: string;
  /** It holds graphs of its own (If, Loop, Scan). */
  nested: boolean;
}

export interface ModelText {
  /** Version by domain. */
  opsets: ReadonlyMap<string, number>;
  /** Element type by tensor: of inputs, initialisers, and what else the file says. */
  types: Map<string, string>;
  inputs: ReadonlySet<string>;
  /** Elements of each initialiser. */
  initialisers: ReadonlyMap<string, number>;
  nodes: ModelNode[];
}

const standard = (domain: string | null | undefined): string => domain || 'ai.onnx';

/** @throws DataError, naming `origin`, for bytes that are no model */
export function readModel(bytes: Uint8Array, origin: string): ModelText {
  let model: InstanceType<typeof onnx.ModelProto>;
  try {
    model = onnx.ModelProto.decode(bytes);
  } catch (error) {
    throw new DataError(`${origin} is no ONNX file: ${(error as Error).message}`);
  }
  const graph = model.graph;
  if (!graph) throw new DataError(`${origin} is no ONNX file: it has no graph`);
  const types = new Map<string, string>();
  const initialisers = new Map<string, number>();
  for (const info of [...(graph.input ?? []), ...(graph.valueInfo ?? [])]) {
    const code = info.type?.tensorType?.elemType;
    if (code) types.set(info.name!, elementTypeOf(code));
  }
  for (const { name, dataType, dims } of graph.initializer ?? []) {
    types.set(name!, elementTypeOf(dataType!));
    initialisers.set(
      name!,
      (dims ?? []).reduce((n: number, d) => n * Number(d), 1),
    );
  }
  return {
    opsets: new Map(model.opsetImport.map((o) => [standard(o.domain), Number(o.version)])),
    types,
    inputs: new Set((graph.input ?? []).map((i) => i.name!)),
    initialisers,
    nodes: (graph.node ?? []).map((n) => {
      const attributes = n.attribute ?? [];
      const tensor = attributes.find((a) => a.t?.dataType)?.t?.dataType;
      return {
        name: n.name ?? '',
        domain: standard(n.domain),
        op: n.opType!,
        inputs: n.input ?? [],
        outputs: n.output ?? [],
        ints: Object.fromEntries(attributes.filter((a) => a.type === 2).map((a) => [a.name!, Number(a.i)])),
        ...(tensor ? { tensor: elementTypeOf(tensor) } : {}),
        nested: attributes.some((a) => a.g != null || (a.graphs?.length ?? 0) > 0),
      };
    }),
  };
}
