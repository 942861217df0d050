// Collects ONNX nodes and constants, shares equal ones, and encodes the model as bytes.
import onnxProto from 'onnx-proto';
import type { DType } from '../graph/ir.js';
import type { ProgramDType } from '../program.js';
import { orderNodes } from './order.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };

type AttrValue = number | { f: number } | number[] | string;
export type OnnxAttrs = Record<string, AttrValue>;
type OnnxType = DType | 'int64';

const typeCode: Record<OnnxType, number> = { float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9 };

export interface OnnxNode {
  op: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attrs: OnnxAttrs;
}

/** An input or output of the model; an axis with a name is open. */
export interface EncodedInfo {
  name: string;
  shape: readonly (number | string)[];
  dtype: ProgramDType;
}

export class OnnxBuilder {
  readonly nodes: OnnxNode[] = [];
  private readonly shared = new Map<string, string[]>();
  readonly initialisers = new Map<string, { dims: number[]; dtype: OnnxType; bytes: Uint8Array }>();
  private readonly constants = new Map<string, string>();
  private readonly reshaped = new Map<string, string>();
  private next = 0;

  /** Emits a node with one output, or returns the equal node emitted before. */
  node(op: string, inputs: string[], attrs: OnnxAttrs = {}, domain = ''): string {
    return this.nodeN(op, inputs, 1, attrs, domain)[0]!;
  }

  nodeN(op: string, inputs: string[], count: number, attrs: OnnxAttrs = {}, domain = ''): string[] {
    const key = `${domain}.${op}|${inputs.join()}|${JSON.stringify(attrs)}`;
    const known = this.shared.get(key);
    if (known) return known;
    const outputs = Array.from({ length: count }, () => `t${this.next++}`);
    this.shared.set(key, outputs);
    this.nodes.push({ op, domain, inputs, outputs, attrs });
    return outputs;
  }

  /** A constant tensor; equal ones are stored once. */
  constant(values: ArrayLike<number>, dims: number[], dtype: OnnxType): string {
    const bytes = constantBytes(values, dtype);
    const key = `${dtype}[${dims}]${bytes.length <= 256 ? Buffer.from(bytes).toString('hex') : ''}`;
    const known = bytes.length <= 256 ? this.constants.get(key) : undefined;
    if (known) return known;
    const name = `k${this.next++}`;
    this.initialisers.set(name, { dims, dtype, bytes });
    this.constants.set(key, name);
    return name;
  }

  /** A constant that others decide, made and stored once. */
  derived(from: string, make: () => string): string {
    const name = this.constants.get(from) ?? make();
    this.constants.set(from, name);
    return name;
  }

  /** Stores a tensor under a name of its own. */
  store(name: string, values: Float32Array, dims: number[]): void {
    this.initialisers.set(name, { dims, dtype: 'float32', bytes: constantBytes(values, 'float32') });
  }

  f32(value: number): string {
    return this.constant([value], [], 'float32');
  }
  i64(values: number[]): string {
    return this.constant(values, [values.length], 'int64');
  }
  /** A reshape of a reshape reads the first one's input. */
  reshape(x: string, shape: number[]): string {
    const from = this.reshaped.get(x) ?? x;
    const y = this.node('Reshape', [from, this.i64(shape)]);
    this.reshaped.set(y, from);
    return y;
  }

  /** Renames the tensors that become outputs; one that is an input or serves twice is copied by an Identity. */
  private nameOutputs(all: readonly OnnxNode[], outputs: { name: string; tensor: string }[]): OnnxNode[] {
    const made = new Set(all.flatMap((n) => n.outputs));
    const renamed = new Map<string, string>();
    const copies: OnnxNode[] = [];
    for (const o of outputs) {
      if (made.has(o.tensor) && !renamed.has(o.tensor)) renamed.set(o.tensor, o.name);
      else copies.push({ op: 'Identity', domain: '', inputs: [o.tensor], outputs: [o.name], attrs: {} });
    }
    const name = (t: string): string => renamed.get(t) ?? t;
    const needed = new Set(outputs.map((o) => o.tensor));
    const live: OnnxNode[] = [];
    for (let i = all.length - 1; i >= 0; i--) {
      const n = all[i]!;
      if (!n.outputs.some((o) => needed.has(o))) continue;
      for (const x of n.inputs) needed.add(x);
      live.push(n);
    }
    return [...live.reverse(), ...copies].map((n) => ({
      ...n,
      inputs: n.inputs.map(name),
      outputs: n.outputs.map(name),
    }));
  }

  /** The model as bytes; `nodes` take the place of those emitted, `domains` are the operator sets beside the standard one, `keepOrder`: see order.ts. */
  encode(
    name: string,
    inputs: EncodedInfo[],
    outputs: (EncodedInfo & { tensor: string })[],
    options: { nodes?: readonly OnnxNode[]; domains?: string[]; keepOrder?: boolean } = {},
  ): Uint8Array {
    const named = this.nameOutputs(options.nodes ?? this.nodes, outputs);
    const nodes = options.keepOrder ? [...named, ...orderNodes(named)] : named;
    const read = new Set(nodes.flatMap((n) => n.inputs));
    const info = (n: EncodedInfo) => ({
      name: n.name,
      type: {
        tensorType: {
          elemType: typeCode[n.dtype],
          shape: { dim: n.shape.map((d) => (typeof d === 'string' ? { dimParam: d } : { dimValue: d })) },
        },
      },
    });
    const model = onnx.ModelProto.create({
      irVersion: 8,
      producerName: 'capi',
      opsetImport: [
        { domain: '', version: 18 },
        ...(options.domains ?? ['com.microsoft']).map((domain) => ({ domain, version: 1 })),
      ],
      graph: {
        name,
        node: nodes.map((n) => ({
          opType: n.op,
          domain: n.domain,
          input: n.inputs,
          output: n.outputs,
          attribute: Object.entries(n.attrs).map(([k, v]) => attribute(k, v as AttrValue)),
        })),
        initializer: [...this.initialisers]
          .filter(([k]) => read.has(k))
          .map(([k, v]) => ({ name: k, dims: v.dims, dataType: typeCode[v.dtype], rawData: v.bytes })),
        input: inputs.map(info),
        output: outputs.map(info),
      },
    });
    return onnx.ModelProto.encode(model).finish();
  }
}

function attribute(name: string, v: AttrValue): Record<string, unknown> {
  if (Array.isArray(v)) return { name, type: 7, ints: v };
  if (typeof v === 'string') return { name, type: 3, s: Buffer.from(v) };
  if (typeof v === 'object') return { name, type: 1, f: v.f };
  return { name, type: 2, i: v };
}

function constantBytes(values: ArrayLike<number>, dtype: OnnxType): Uint8Array {
  const n = values.length;
  let a: Float32Array | Int32Array | BigInt64Array | Uint8Array;
  if (dtype === 'float32') a = values instanceof Float32Array ? values : Float32Array.from(values);
  else if (dtype === 'int32') a = Int32Array.from(values);
  else if (dtype === 'int64') a = BigInt64Array.from({ length: n }, (_, i) => BigInt(values[i]!));
  else a = Uint8Array.from(values);
  return new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
}
