// A program as an ONNX file for everyone: standard operators, its weights inside, and any number of images a batch.
import { EngineError } from '../../errors.js';
import type { Graph } from '../graph/ir.js';
import { optimise } from '../graph/passes/index.js';
import { trace } from '../graph/trace.js';
import { elements, type Program, type ProgramDType } from '../program.js';
import { type EncodedInfo, OnnxBuilder, type OnnxNode } from './builder.js';
import { lowerInto } from './lower.js';
import { standardLowerings } from './standard.js';

export interface ExportRequest {
  name: string;
  /** The same program for another number of images. */
  at(batch: number): Program;
  /** The input whose first axis is the batch. */
  batchInput: string;
  /** Values of all state, stored in the file under their names. */
  weights: Readonly<Record<string, Float32Array>>;
}

/** Name of the open axis. */
export const BATCH_AXIS = 'batch';
/** Primes far from every other size of a model, so that a size that follows the batch is seen to. */
const TRACED = [1009, 1013, 1019] as const;
const MOST_BYTES = 2 ** 31 - 2 ** 20;

/** One trace, lowered. */
interface Build {
  graph: Graph;
  builder: OnnxBuilder;
  outputs: { name: string; tensor: string; shape: number[]; dtype: ProgramDType }[];
}

/**
 * The bytes of the model. A traced program knows its batch as a number; so it is traced at three batches, which must give the
 * same nodes. Every integer constant (a shape, a start, a count) that differs between the first two is a + b * batch; the third
 * must agree; and in the file it is computed from the shape of the input, or left open where a Reshape can infer it.
 * @throws EngineError for weights that one file cannot hold, or a program whose nodes depend on the batch in another way
 */
export function exportOnnx(request: ExportRequest): Uint8Array {
  const { name, weights, batchInput } = request;
  const bytes = Object.values(weights).reduce((n, w) => n + w.byteLength, 0);
  if (bytes > MOST_BYTES) {
    throw new EngineError(
      `the weights of ${name} are ${bytes} bytes, more than one ONNX file can hold (2 GiB): export them as .safetensors`,
    );
  }
  const builds = TRACED.map((batch): Build => {
    const graph = optimise(trace(request.at(batch)));
    const builder = new OnnxBuilder();
    return { graph, builder, outputs: lowerInto(builder, graph, standardLowerings) };
  });
  const [first] = builds as [Build, Build, Build];
  checkSameNodes(name, builds);
  const open = openBatch(name, batchInput, builds);
  const info = (at: (b: Build) => EncodedInfo): EncodedInfo => ({
    ...at(first),
    shape: openShape(
      name,
      builds.map((b) => at(b).shape as number[]),
    ),
  });
  for (const { name, value } of first.graph.inputs) {
    const values = weights[name];
    if (values) {
      if (values.length !== elements(value.shape))
        throw new Error(`${name} does not have shape [${value.shape}]`);
      first.builder.store(name, values, value.shape);
    }
  }
  const inputs = first.graph.inputs.flatMap(({ name }, i) =>
    weights[name]
      ? []
      : [
          info((b) => ({
            name,
            shape: b.graph.inputs[i]!.value.shape,
            dtype: b.graph.inputs[i]!.value.dtype as 'float32',
          })),
        ],
  );
  const outputs = first.outputs.map((o, i) => ({ ...info((b) => b.outputs[i]!), tensor: o.tensor }));
  return first.builder.encode(name, inputs, outputs, { nodes: open, domains: [] });
}

function fault(name: string, what: string): EngineError {
  return new EngineError(`${name} cannot be exported for any batch: ${what}`);
}

const textOf = (n: OnnxNode): string =>
  `${n.domain}.${n.op}(${n.inputs.join()})->${n.outputs.join()}${JSON.stringify(n.attrs)}`;

function checkSameNodes(name: string, builds: Build[]): void {
  const texts = builds.map((b) => b.builder.nodes.map(textOf));
  for (const [i, text] of texts[0]!.entries()) {
    const other = texts.find((t) => t[i] !== text);
    if (other) throw fault(name, `node ${i} is ${text} at one batch and ${other[i] ?? 'absent'} at another`);
  }
  if (texts.some((t) => t.length !== texts[0]!.length))
    throw fault(name, 'it has more nodes at another batch');
}

/** a + b * batch, fitted to the first two values and held against the third. */
function affine(name: string, values: number[]): { a: number; b: number } {
  const [n1, n2, n3] = TRACED;
  const b = (values[1]! - values[0]!) / (n2 - n1);
  const a = values[0]! - b * n1;
  if (!Number.isInteger(b) || a + b * n3 !== values[2]) {
    throw fault(name, `a size is ${values.join(', ')} at batches ${TRACED.join(', ')}`);
  }
  return { a, b };
}

/** The shape of an input or output, the batch as an open axis. */
function openShape(name: string, shapes: number[][]): (number | string)[] {
  return shapes[0]!.map((d, i) => {
    const { a, b } = affine(
      name,
      shapes.map((s) => s[i]!),
    );
    if (b === 0) return d;
    if (a === 0 && b === 1) return BATCH_AXIS;
    throw fault(name, `an input or output has an axis of ${a} + ${b} * batch`);
  });
}

/** The nodes with every constant that follows the batch opened. */
function openBatch(name: string, batchInput: string, builds: Build[]): OnnxNode[] {
  const [first] = builds as [Build, ...Build[]];
  const follows = new Map<string, { a: number; b: number }[]>();
  for (const [key, constant] of first.builder.initialisers) {
    const all = builds.map((b) => b.builder.initialisers.get(key));
    const same = all.every(
      (c) => c && c.dims.join() === constant.dims.join() && Buffer.compare(c.bytes, constant.bytes) === 0,
    );
    if (same) continue;
    if (all.some((c) => c?.dtype !== 'int64' || c.dims.join() !== constant.dims.join())) {
      throw fault(name, `constant ${key} of type ${constant.dtype} follows the batch`);
    }
    const values = all.map((c) => [...new BigInt64Array(c!.bytes.slice().buffer)].map(Number));
    follows.set(
      key,
      values[0]!.map((_, i) =>
        affine(
          name,
          values.map((v) => v[i]!),
        ),
      ),
    );
  }
  const b = first.builder;
  const original = [...b.nodes];
  const before = original.length;
  let size: string | undefined;
  const computed = (constant: { a: number; b: number }[]): string => {
    size ??= b.node('Shape', [batchInput], { start: 0, end: 1 });
    const scaled = b.node('Mul', [size, b.i64(constant.map((c) => c.b))]);
    return b.node('Add', [scaled, b.i64(constant.map((c) => c.a))]);
  };
  const nodes = original.map((node): OnnxNode => {
    if (!node.inputs.some((x) => follows.has(x))) return node;
    const inputs = node.inputs.map((x, i) => {
      const constant = follows.get(x);
      if (!constant) return x;
      const open = constant.filter((c) => c.b !== 0);
      const inferable = node.op === 'Reshape' && i === 1 && open.length === 1;
      return inferable ? b.i64(constant.map((c) => (c.b === 0 ? c.a : -1))) : computed(constant);
    });
    return { ...node, inputs };
  });
  return [...b.nodes.slice(before), ...nodes];
}
