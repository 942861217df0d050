// Records a program as a graph: a TensorFlow.js backend whose tensors are symbols and whose kernels append nodes.
import { EngineError } from '../../errors.js';
import { stillBusy } from '../../stops.js';
import { decomposed } from '../../tensor/ops/primitive.js';
import { type DataType, type Tensor, type TensorInfo, tf } from '../../tensor/tf.js';
import type { Program } from '../program.js';
import { type Attrs, type DType, type Graph, newValue, type Value } from './ir.js';
import { type Kernel, kernels } from './kernels.js';

export const TRACE_BACKEND = 'capi-trace';

class TraceBackend extends tf.KernelBackend {
  private readonly data = new tf.DataStorage<{ value: Value; refs: number }>(this, tf.engine());
  graph: Graph | null = null;

  current(): Graph {
    if (!this.graph) throw new Error('a tensor op ran on the tracing backend outside a trace');
    return this.graph;
  }
  symbolOf(t: TensorInfo): Value {
    return this.data.get(t.dataId).value;
  }
  /** A new tensor that stands for a value; reshaped tensors share a data id but carry their own shape. */
  wrap(value: Value): TensorInfo {
    const dataId = {};
    this.data.set(dataId, { value, refs: 1 });
    return { dataId, shape: value.shape, dtype: value.dtype === 'uint8' ? 'int32' : value.dtype };
  }

  override write(values: never, shape: number[], dtype: DataType): object {
    const dataId = {};
    this.data.set(dataId, { value: newValue(this.current(), shape, dtype as DType, values), refs: 1 });
    return dataId;
  }
  override move(dataId: object, values: never, shape: number[], dtype: DataType, refs: number): void {
    this.data.set(dataId, { value: newValue(this.current(), shape, dtype as DType, values), refs });
  }
  override readSync(dataId: object): never {
    const v = this.data.get(dataId).value;
    if (v.data) return v.data as never;
    throw new EngineError(
      'the program reads a tensor while it is traced: control flow must not depend on data',
    );
  }
  override async read(dataId: object): Promise<never> {
    return this.readSync(dataId);
  }
  override refCount(dataId: object): number {
    return this.data.has(dataId) ? this.data.get(dataId).refs : 0;
  }
  override incRef(dataId: object): void {
    this.data.get(dataId).refs++;
  }
  decRef(dataId: object): void {
    this.data.get(dataId).refs--;
  }
  override disposeData(dataId: object, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const d = this.data.get(dataId);
    d.refs--;
    if (!force && d.refs > 0) return false;
    this.data.delete(dataId);
    return true;
  }
  override numDataIds(): number {
    return this.data.numDataIds();
  }
  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }
  override timerAvailable(): boolean {
    return false;
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
}

const backend = new TraceBackend();
let registered = false;

function register(): void {
  if (registered) return;
  registered = true;
  tf.registerBackend(TRACE_BACKEND, () => backend, 0);
  for (const [kernel, rule] of Object.entries<Kernel>(kernels)) {
    tf.registerKernel({
      kernelName: kernel,
      backendName: TRACE_BACKEND,
      kernelFunc: ({ inputs, attrs }) => {
        const graph = backend.current();
        if (graph.nodes.length % 1024 === 0) stillBusy();
        const infos = rule.inputs
          ? rule.inputs.map((n) => (inputs as Record<string, TensorInfo | undefined>)[n])
          : Object.values(inputs as Record<string, TensorInfo>);
        const values = infos.filter((t) => t !== undefined).map((t) => viewOf(graph, t));
        const a = { ...((attrs ?? {}) as unknown as Attrs) };
        const outputs = rule.infer(values, a).map(([s, d]) => newValue(graph, s, d));
        graph.nodes.push({ kernel, inputs: values, outputs, attrs: a });
        const wrapped = outputs.map((v) => backend.wrap(v));
        return wrapped.length === 1 ? wrapped[0]! : wrapped;
      },
    });
  }
}

/** The value of a tensor; where its shape differs from the value's (tfjs reshapes without a kernel) a Reshape is added. */
function viewOf(graph: Graph, t: TensorInfo): Value {
  const v = backend.symbolOf(t);
  if (v.shape.length === t.shape.length && v.shape.every((d, i) => d === t.shape[i])) return v;
  const out = newValue(graph, [...t.shape], v.dtype);
  graph.nodes.push({ kernel: 'Reshape', inputs: [v], outputs: [out], attrs: { shape: [...t.shape] } });
  return out;
}

/**
 * Records `program` as a graph of kernel calls, before any pass; without `composites`, as kernels that every backend has.
 * @throws EngineError that names kernel and program when an op is not in the table of kernels.
 */
export function trace(program: Program, { composites = true } = {}): Graph {
  register();
  const before = tf.getBackend();
  const graph: Graph = { name: program.name, inputs: [], nodes: [], outputs: [], nextId: 0 };
  backend.graph = graph;
  tf.setBackend(TRACE_BACKEND);
  try {
    tf.engine().startScope(program.name);
    const inputs: Record<string, Tensor> = {};
    for (const [name, spec] of Object.entries(program.inputs)) {
      const value = newValue(graph, [...spec.shape], spec.dtype);
      graph.inputs.push({ name, value });
      const tensor = tf.engine().makeTensorFromTensorInfo(backend.wrap(value));
      inputs[name] = spec.dtype === 'uint8' ? tf.cast(tensor, 'float32') : tensor;
    }
    const outputs = composites ? program.run(inputs) : decomposed(() => program.run(inputs));
    for (const [name, t] of Object.entries(outputs)) graph.outputs.push({ name, value: viewOf(graph, t) });
  } catch (error) {
    const missing = /Kernel '([^']+)' not registered/.exec((error as Error).message);
    if (missing) {
      throw new EngineError(
        `the onnx engine does not know kernel ${missing[1]}, which program ${program.name} uses: ` +
          'run it with --engine tensorflow or --engine reference, or add it to src/engine/graph/kernels.ts and src/engine/onnx/lowerings.ts',
        { kernel: missing[1], program: program.name },
      );
    }
    throw error;
  } finally {
    tf.engine().endScope();
    if (before) tf.setBackend(before);
    backend.graph = null;
  }
  return graph;
}
