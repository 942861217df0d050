// The onnx engine: traces, optimises, lowers, and runs the model in onnxruntime. The one door to onnxruntime-node.
import * as ort from 'onnxruntime-node';
import { EngineError } from '../../errors.js';
import {
  checkValues,
  type DeviceName,
  type Engine,
  type Executable,
  elements,
  neverSet,
  type Outputs,
  type Program,
  type TensorSpec,
  type Values,
} from '../program.js';
import type { Graph } from './ir.js';
import { lower, OUTPUT_PREFIX } from './lower.js';
import { optimise } from './passes/index.js';
import { copyModel, ResidentExecutable, type Runtime, type RuntimeSession } from './resident.js';
import { trace } from './trace.js';
import { noAdapter, webgpuRules } from './webgpu.js';

export interface OnnxOptions {
  device?: DeviceName;
  /** Threads within one op; onnxruntime's own choice (all physical cores) when undefined. */
  threads?: number;
  /** Writes an onnxruntime profile of every run with this file prefix. */
  profile?: string;
}

/** An ONNX model is one protobuf message, which ends at 2 GiB: larger weights stay inputs. */
export const MOST_MODEL_BYTES = 1.9 * 2 ** 30;

/**
 * Threads that wait for work sleep. By default they spin for a while after every product, on cores that the other sessions of a
 * process, the image readers and other processes then lack: on two cores stacked heads took five times as long, steps of the preset `fashion` 1.15 times.
 */
const WAITING = { session: { intra_op: { allow_spinning: '0' } } };

const provider: Record<DeviceName, string> = { cpu: 'cpu', cuda: 'cuda', webgpu: 'webgpu' };

export class OnnxEngine implements Engine {
  readonly name = 'onnx';
  readonly device: DeviceName;
  readonly threads?: number;
  readonly version = String(ort.env.versions.node ?? ort.env.versions.common);

  constructor(private readonly options: OnnxOptions = {}) {
    this.device = options.device ?? 'cpu';
    if (options.threads !== undefined) this.threads = options.threads;
  }

  async load(
    program: Program,
    fixed: Record<string, Values> = {},
  ): Promise<OnnxExecutable | ResidentExecutable> {
    for (const name of Object.keys(fixed)) {
      if (!program.state.includes(name))
        throw new Error(`program ${program.name} has no state named ${name}`);
    }
    const traced = trace(program);
    const bytes = Object.values(fixed).reduce((n, v) => n + v.byteLength, 0);
    if (bytes > MOST_MODEL_BYTES) {
      const executable = await this.loadGraph(program, optimise(traced));
      executable.setState(fixed);
      return executable;
    }
    // As constants, weights are packed once for the products that read them, and what depends on them alone is folded.
    const constants = traced.inputs.filter((i) => fixed[i.name]);
    for (const { name, value } of constants) {
      checkValues(program, name, fixed[name]!);
      value.data = fixed[name]!;
    }
    const open = { ...traced, inputs: traced.inputs.filter((i) => !fixed[i.name]) };
    const inputs = Object.fromEntries(Object.entries(program.inputs).filter(([name]) => !fixed[name]));
    const state = program.state.filter((name) => !fixed[name]);
    const executable = await this.loadGraph({ ...program, inputs, state }, optimise(open));
    for (const { value } of constants) delete value.data; // the session has its own copy
    return executable;
  }

  /** Loads a graph of the program as it stands: `load` without trace and passes. */
  async loadGraph(program: Program, graph: Graph): Promise<OnnxExecutable | ResidentExecutable> {
    const what = `program ${program.name}`;
    if (this.device === 'webgpu') {
      const place = (name: string) => (program.state.includes(name) ? 'gpu-buffer' : 'cpu');
      const places = graph.outputs.map(({ name }) => [OUTPUT_PREFIX + name, place(name)] as const);
      const session = await this.session(lower(graph, webgpuRules), what, {
        preferredOutputLocation: Object.fromEntries(places),
      });
      return new ResidentExecutable(
        program,
        graph,
        session as unknown as RuntimeSession,
        await this.runtime(),
      );
    }
    return new OnnxExecutable(program, graph, await this.session(lower(graph), what));
  }

  private copying?: Promise<Runtime>;

  /** What state on the device needs; its two sessions serve every program of this engine. */
  private runtime(): Promise<Runtime> {
    const copyTo = async (place: 'gpu-buffer' | 'cpu') => {
      const session = await this.session(copyModel(), 'a copy of state', {
        preferredOutputLocation: place,
        enableProfiling: false,
      });
      return session as unknown as RuntimeSession;
    };
    this.copying ??= (async () => ({
      hostTensor: tensorOf,
      upload: await copyTo('gpu-buffer'),
      download: await copyTo('cpu'),
    }))();
    return this.copying;
  }

  private async session(
    model: Uint8Array,
    what: string,
    own: ort.InferenceSession.SessionOptions = {},
  ): Promise<ort.InferenceSession> {
    try {
      return await ort.InferenceSession.create(model, {
        executionProviders: [provider[this.device]],
        executionMode: 'sequential',
        // Higher levels fold transposes back into products, which is slower, and take seconds longer to load.
        graphOptimizationLevel: 'basic',
        logSeverityLevel: 3,
        extra: WAITING,
        ...(this.threads === undefined ? {} : { intraOpNumThreads: this.threads }),
        ...(this.options.profile ? { enableProfiling: true, profileFilePrefix: this.options.profile } : {}),
        ...own,
      });
    } catch (error) {
      throw this.failure(what, error as Error);
    }
  }

  private failure(what: string, { message }: Error): EngineError {
    if (message.includes('WebGPU adapter')) return new EngineError(noAdapter(message));
    return new EngineError(`onnxruntime cannot run ${what} on ${this.device}: ${message.split('\n')[0]}`);
  }

  /**
   * Opens an ONNX file of anyone's, with the files of external data beside it.
   * @throws EngineError when onnxruntime cannot load it
   */
  async openFile(path: string): Promise<OnnxFile> {
    try {
      const session = await ort.InferenceSession.create(path, {
        executionProviders: [provider[this.device]],
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
        extra: WAITING,
        ...(this.threads === undefined ? {} : { intraOpNumThreads: this.threads }),
      });
      return new OnnxFile(path, session);
    } catch (error) {
      throw this.failure(path, error as Error);
    }
  }
}

/** An input or output of an ONNX file: its element type in onnxruntime's words, and sizes, or names for the open ones. */
export interface OnnxSlot {
  name: string;
  type: string;
  shape: readonly (number | string)[];
}

/** A foreign ONNX model, loaded; it knows no program. */
export class OnnxFile {
  constructor(
    readonly path: string,
    private readonly session: ort.InferenceSession,
  ) {}

  get inputs(): OnnxSlot[] {
    return slots(this.session.inputMetadata);
  }
  get outputs(): OnnxSlot[] {
    return slots(this.session.outputMetadata);
  }

  /**
   * Runs the model on one input and returns the named outputs with the shapes that they have.
   * @throws EngineError when onnxruntime fails, or an output is not float32
   */
  async run(
    input: string,
    values: Float32Array | Uint8Array,
    shape: number[],
    outputs: string[],
  ): Promise<Record<string, { shape: readonly number[]; data: Float32Array }>> {
    const dtype = values instanceof Uint8Array ? 'uint8' : 'float32';
    const feeds = { [input]: new ort.Tensor(dtype, values as Float32Array, shape) };
    const results = await this.session.run(feeds, outputs).catch((error: Error) => {
      throw new EngineError(
        `${this.path} fails on input ${input} of shape [${shape}]: ${error.message.split('\n')[0]}`,
      );
    });
    return Object.fromEntries(
      outputs.map((name) => {
        const t = results[name]!;
        if (t.type !== 'float32')
          throw new EngineError(`${this.path}: output ${name} is ${t.type}; read is float32`);
        return [name, { shape: t.dims, data: t.data as Float32Array }];
      }),
    );
  }

  async close(): Promise<void> {
    await this.session.release();
  }
}

function slots(metadata: readonly ort.InferenceSession.ValueMetadata[]): OnnxSlot[] {
  return metadata.map((m) =>
    m.isTensor
      ? { name: m.name, type: m.type, shape: m.shape }
      : { name: m.name, type: 'no tensor', shape: [] },
  );
}

const arrayOf = (spec: TensorSpec): Values => {
  const n = elements(spec.shape);
  if (spec.dtype === 'float32') return new Float32Array(n);
  return spec.dtype === 'int32' ? new Int32Array(n) : new Uint8Array(n);
};
const tensorOf = (spec: TensorSpec, data = arrayOf(spec)): ort.Tensor =>
  new ort.Tensor(spec.dtype, data as Float32Array, spec.shape);

/**
 * State lives in two sets of preallocated tensors: a step reads one and writes the other in place, because an output
 * must not be bound onto an input that the same graph still reads.
 */
export class OnnxExecutable implements Executable {
  private current: Record<string, ort.Tensor> = {};
  private other: Record<string, ort.Tensor> = {};
  private readonly results: Record<string, ort.Tensor> = {};
  private readonly unset: Set<string>;

  constructor(
    private readonly program: Program,
    readonly graph: Graph,
    private readonly session: ort.InferenceSession,
  ) {
    this.unset = new Set(program.state);
    const made = new Set(graph.outputs.map((o) => o.name));
    for (const name of program.state) {
      const spec = program.inputs[name]!;
      this.current[name] = tensorOf(spec);
      if (made.has(name)) this.other[name] = tensorOf(spec);
    }
    for (const o of graph.outputs) {
      if (program.state.includes(o.name)) continue;
      this.results[o.name] = tensorOf({ shape: o.value.shape, dtype: o.value.dtype as 'float32' });
    }
  }

  setState(values: Record<string, Values>): void {
    for (const [name, v] of Object.entries(values)) {
      const t = this.current[name];
      if (!t) throw new Error(`program ${this.program.name} has no state named ${name}`);
      checkValues(this.program, name, v);
      (t.data as Float32Array).set(v);
      this.unset.delete(name);
    }
  }

  async getState(names = this.program.state): Promise<Record<string, Float32Array>> {
    return Object.fromEntries(names.map((n) => [n, (this.current[n]!.data as Float32Array).slice()]));
  }

  async run(inputs: Record<string, Values>, accept: (o: Outputs) => boolean = () => true): Promise<Outputs> {
    for (const name of this.unset) throw neverSet(this.program, name);
    const feeds: Record<string, ort.Tensor> = {};
    for (const [name, spec] of Object.entries(this.program.inputs)) {
      const state = this.current[name];
      const given = inputs[name];
      if (state) {
        feeds[name] = state;
        continue;
      }
      if (!given) throw new Error(`program ${this.program.name} needs input ${name}`);
      checkValues(this.program, name, given);
      feeds[name] = tensorOf(spec, given);
    }
    const fetches: Record<string, ort.Tensor> = {};
    for (const [name, t] of Object.entries(this.other)) fetches[OUTPUT_PREFIX + name] = t;
    for (const [name, t] of Object.entries(this.results)) fetches[OUTPUT_PREFIX + name] = t;
    await this.session.run(feeds, fetches);
    const outputs = Object.fromEntries(
      Object.entries(this.results).map(([n, t]) => [n, (t.data as Float32Array).slice()]),
    );
    if (accept(outputs)) {
      for (const [name, t] of Object.entries(this.other)) {
        this.other[name] = this.current[name]!;
        this.current[name] = t;
      }
    }
    return outputs;
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }
}
