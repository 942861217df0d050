// A model loaded in onnxruntime: its slots, the values that it reads and writes, and the bindings that tie them together.
import { join } from 'node:path';
import { EngineError } from '../../errors.js';
import { type DeviceName, elements, type Values } from '../program.js';
import {
  CUDA_PROVIDER,
  type Handle,
  libraryFolder,
  memoryAt,
  ortApi,
  pointersAt,
  type Reporting,
  textAt,
} from './c_api.js';

/** An input or output of a model: its element type in the words below, and sizes, or names for the open ones. */
export interface OnnxSlot {
  name: string;
  type: string;
  shape: readonly (number | string)[];
}

/** Element types by their number in ONNX, those that a tensor of ours can have and those that only a message names. */
const typeNames = [
  '',
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
].concat(['float16', 'float64', 'uint32', 'uint64', 'complex64', 'complex128', 'bfloat16']);

export interface SessionSettings {
  device: DeviceName;
  threads?: number;
  /** Writes an onnxruntime profile of every run with this file prefix when the session is closed. */
  profile?: string;
  /** onnxruntime's own passes: the basic ones for graphs that ours have shaped, all of them for foreign files. */
  passes: 'basic' | 'all';
  /** On CUDA: the first run is recorded, later ones replay it. They read and write the same memory, and must come from one thread. */
  replay?: boolean;
}

/** A tensor that onnxruntime knows. On the host it lies in `data`, which it keeps alive. */
export interface Value {
  readonly handle: Handle;
  readonly data?: Values;
}

const ERROR = 3; // OrtLoggingLevel
const ARENA = 1; // OrtAllocatorType
const DEFAULT_MEMORY = 0; // OrtMemType
const HOST = 0; // OrtMemoryInfoDeviceType
const PASSES = { basic: 1, all: 99 }; // GraphOptimizationLevel

/** One for the process: onnxruntime keeps a single environment, whoever asks. */
let environment: Handle | undefined;
const env = (): Handle => {
  environment ??= ortApi().make('CreateEnv', ERROR, 'capi');
  return environment;
};

let knowsCuda = false;
/** Tells the environment how to copy to and from CUDA: sessions tell only themselves. */
function registerCuda(): void {
  if (knowsCuda) return;
  const ort = ortApi();
  ort.call('RegisterExecutionProviderLibrary', env(), 'cuda', join(libraryFolder(), CUDA_PROVIDER[0]));
  process.once('exit', () => ort.plain('ReleaseEnv', env())); // or the provider's library crashes when the process ends
  knowsCuda = true;
}

export const runtimeVersion = (): string => ortApi().version;

export class NativeSession {
  /** Runs are recorded and replayed. */
  readonly replays: boolean;
  readonly inputs: OnnxSlot[];
  readonly outputs: OnnxSlot[];
  private readonly ort = ortApi();
  private readonly runOptions: Handle;
  private readonly host: Handle;
  /** Where the session wants each input: kernels on a device read device memory. The session owns these. */
  private readonly places: Handle[];
  private readonly outputPlaces: Handle[];
  private readonly allocators = new Map<Handle, Handle>();

  /**
   * Loads the bytes of a model, or a file with the external data beside it; on the CPU on a thread of Node's pool, so that the event loop goes
   * on: a large graph takes minutes. @throws Error with onnxruntime's words
   */
  static async load(model: Uint8Array | string, settings: SessionSettings): Promise<NativeSession> {
    const ort = ortApi();
    env(); // providers log while they are set up
    if (settings.device === 'cuda') registerCuda();
    const options = ort.make('CreateSessionOptions');
    try {
      setUp(options, settings);
      const from = typeof model === 'string' ? 'CreateSession' : 'CreateSessionFromArray';
      const of = typeof model === 'string' ? [model] : [model, model.byteLength];
      const session: [Handle | null] = [null];
      const args = [env(), ...of, options, session];
      if (settings.device === 'cpu') await ort.callAside(from, ...args);
      else ort.call(from, ...args); // a device belongs to the thread that runs on it
      return new NativeSession(session[0] as Handle, settings);
    } finally {
      ort.plain('ReleaseSessionOptions', options);
    }
  }

  private constructor(
    private readonly session: Handle,
    settings: SessionSettings,
  ) {
    const { ort } = this;
    this.replays = settings.replay ?? false;
    this.runOptions = ort.make('CreateRunOptions');
    this.host = ort.make('CreateCpuMemoryInfo', ARENA, DEFAULT_MEMORY);
    this.inputs = this.slots('SessionGetInputCount', 'SessionGetInputName', 'SessionGetInputTypeInfo');
    this.outputs = this.slots('SessionGetOutputCount', 'SessionGetOutputName', 'SessionGetOutputTypeInfo');
    this.places = this.placesOf('SessionGetMemoryInfoForInputs', this.inputs.length);
    this.outputPlaces = this.placesOf('SessionGetMemoryInfoForOutputs', this.outputs.length);
  }

  private placesOf(which: Reporting, count: number): Handle[] {
    const places = new BigUint64Array(count);
    this.ort.call(which, this.session, places, count);
    return [...places];
  }

  /** A tensor in memory of ours. onnxruntime reads and writes `data` itself: nothing is copied. */
  hostValue(data: Values, shape: readonly number[], type: string): Value {
    const { ort, host } = this;
    const sizes = BigInt64Array.from(shape, BigInt);
    const code = typeNames.indexOf(type);
    const args = [host, data, data.byteLength, sizes, sizes.length, code];
    return { handle: ort.make('CreateTensorWithDataAsOrtValue', ...args), data };
  }

  /** A tensor where the session reads this input: in an array of `data` if that is the host, else in memory of the device. */
  valueFor(input: string, data: () => Values, shape: readonly number[], type: string): Value {
    return this.valueAt(this.places[this.inputs.findIndex((i) => i.name === input)], data, shape, type);
  }

  /** A tensor where the session writes this output: in an array of `data` if that is the host, else in memory of the device. */
  valueFrom(output: string, data: () => Values, shape: readonly number[], type: string): Value {
    return this.valueAt(
      this.outputPlaces[this.outputs.findIndex((i) => i.name === output)],
      data,
      shape,
      type,
    );
  }

  private valueAt(
    place: Handle | undefined,
    data: () => Values,
    shape: readonly number[],
    type: string,
  ): Value {
    const { ort } = this;
    if (place === undefined || this.isHost(place)) return this.hostValue(data(), shape, type);
    const allocator = this.allocators.get(place) ?? ort.make('CreateAllocator', this.session, place);
    this.allocators.set(place, allocator);
    const sizes = BigInt64Array.from(shape, BigInt);
    return {
      handle: ort.make('CreateTensorAsOrtValue', allocator, sizes, sizes.length, typeNames.indexOf(type)),
    };
  }

  /** A tensor over a part of the float32 tensor `whole`, from its element `from` on, on a device whose memory has addresses. `whole` must outlive it. */
  part(input: string, whole: Value, from: number, shape: readonly number[]): Value {
    const { ort } = this;
    const place = this.places[this.inputs.findIndex((i) => i.name === input)]!;
    const address = ort.make('GetTensorMutableData', whole.handle) + 4n * BigInt(from);
    const sizes = BigInt64Array.from(shape, BigInt);
    const args = [
      place,
      address,
      4 * elements([...shape]),
      sizes,
      sizes.length,
      typeNames.indexOf('float32'),
    ];
    return { handle: ort.make('CreateTensorWithDataAsOrtValue', ...args) };
  }

  /** Copies tensors of equal shapes between host and device. */
  copy(from: Value, to: Value): void {
    const [source, target] = [BigUint64Array.of(from.handle), BigUint64Array.of(to.handle)];
    this.ort.call('CopyTensors', env(), source, target, null, 1);
  }

  release(value: Value): void {
    this.ort.plain('ReleaseValue', value.handle);
  }

  binding(): Binding {
    return new Binding(this.session, this.runOptions, this.host);
  }

  /** Most bytes that intermediate values of a run have taken from the host's arena so far. */
  peakBytes(): number {
    const { ort } = this;
    const allocator = ort.make('CreateAllocator', this.session, this.host);
    const stats = ort.make('AllocatorGetStats', allocator);
    const most = ort.plain('GetKeyValue', stats, 'MaxInUse');
    ort.plain('ReleaseKeyValuePairs', stats);
    ort.plain('ReleaseAllocator', allocator);
    return Number(most ?? 0);
  }

  /** Frees the model. Values and bindings that are left are of no use any more. */
  close(): void {
    const { ort } = this;
    for (const allocator of this.allocators.values()) ort.plain('ReleaseAllocator', allocator);
    ort.plain('ReleaseMemoryInfo', this.host);
    ort.plain('ReleaseRunOptions', this.runOptions);
    ort.plain('ReleaseSession', this.session);
  }

  private isHost(place: Handle): boolean {
    const kind = [-1];
    this.ort.plain('MemoryInfoGetDeviceType', place, kind);
    return kind[0] === HOST;
  }

  private slots(count: Reporting, name: Reporting, type: Reporting): OnnxSlot[] {
    const { ort, session } = this;
    const allocator = ort.make('GetAllocatorWithDefaultOptions');
    return Array.from({ length: ort.number(count, session) }, (_, i) => {
      const text = ort.make(name, session, i, allocator);
      const info = ort.make(type, session, i);
      const tensor = ort.make('CastTypeInfoToTensorInfo', info); // null for what is no tensor
      const slot = {
        name: textAt(text),
        ...(tensor ? typeAndShape(tensor) : { type: 'no tensor', shape: [] }),
      };
      ort.call('AllocatorFree', allocator, text);
      ort.plain('ReleaseTypeInfo', info);
      return slot;
    });
  }
}

/**
 * Threads that wait for work look out for 50 microseconds, which bridges the gaps between the nodes of a graph, and then sleep. By default they
 * look out for much longer, on cores that the other sessions of a process, the image readers and other processes then lack: on two cores stacked
 * heads took five times as long. Threads that sleep at once make a training step a fifth longer.
 */
const WAITING = { 'session.intra_op.allow_spinning': '1', 'session.intra_op.spin_duration_us': '50' };

function setUp(options: Handle, { device, threads, profile, passes, replay }: SessionSettings): void {
  const ort = ortApi();
  ort.call('SetSessionLogSeverityLevel', options, ERROR);
  ort.call('SetSessionGraphOptimizationLevel', options, PASSES[passes]);
  // One block for all values of a run, planned in the first, comes beside what the first run took: 1.4 times the memory.
  if (passes === 'basic') ort.call('DisableMemPattern', options);
  for (const [key, value] of Object.entries(WAITING)) ort.call('AddSessionConfigEntry', options, key, value);
  if (threads !== undefined) ort.call('SetIntraOpNumThreads', options, threads);
  if (profile) ort.call('EnableProfiling', options, profile);
  if (device === 'webgpu') ort.call('SessionOptionsAppendExecutionProvider', options, 'WebGPU', [], [], 0);
  if (device === 'cuda') {
    const cuda = ort.make('CreateCUDAProviderOptions');
    const wanted = { use_tf32: '0', enable_cuda_graph: replay ? '1' : '0' };
    try {
      const [keys, values] = [Object.keys(wanted), Object.values(wanted)];
      ort.call('UpdateCUDAProviderOptions', cuda, keys, values, keys.length);
      ort.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
    } finally {
      ort.plain('ReleaseCUDAProviderOptions', cuda);
    }
  }
}

function typeAndShape(info: Handle): { type: string; shape: (number | string)[] } {
  const ort = ortApi();
  const rank = ort.number('GetDimensionsCount', info);
  const sizes = new BigInt64Array(rank);
  ort.call('GetDimensions', info, sizes, rank);
  const names = new BigUint64Array(rank);
  ort.call('GetSymbolicDimensions', info, names, rank);
  const code = ort.number('GetTensorElementType', info);
  return {
    type: typeNames[code] ?? `type ${code}`,
    shape: Array.from(sizes, (n, i) => (n < 0n ? textAt(names[i]!) : Number(n))),
  };
}

/** Which values a session reads and writes. Bound once, they serve run after run. */
export class Binding {
  private readonly ort = ortApi();
  private readonly binding: Handle;

  constructor(
    private readonly session: Handle,
    private readonly runOptions: Handle,
    private readonly host: Handle,
  ) {
    this.binding = this.ort.make('CreateIoBinding', session);
  }

  /** A value that lies elsewhere than the session wants it is copied now: later changes of it are not seen. */
  input(name: string, value: Value): void {
    this.ort.call('BindInput', this.binding, name, value.handle);
  }

  /** The session writes into `value`, which must not be an input that the same run still reads. */
  output(name: string, value: Value): void {
    this.ort.call('BindOutput', this.binding, name, value.handle);
  }

  /** The session makes the value, on the host, with the shape that it turns out to have. */
  openOutput(name: string): void {
    this.ort.call('BindOutputToDevice', this.binding, name, this.host);
  }

  /** Runs on a thread of Node's pool. Values that are bound must stay alive and alone until it is done. */
  run(): Promise<void> {
    return this.ort.callAside('RunWithBinding', this.session, this.runOptions, this.binding);
  }

  /** Runs on this thread. */
  runHere(): void {
    this.ort.call('RunWithBinding', this.session, this.runOptions, this.binding);
  }

  /** Copies of all outputs in the order of their binding; those that are not float32 come without data. */
  read(): { type: string; shape: number[]; data?: Float32Array }[] {
    const { ort } = this;
    const allocator = ort.make('GetAllocatorWithDefaultOptions');
    const [list, count] = [[null], [0]] as [[Handle | null], [number]];
    ort.call('GetBoundOutputValues', this.binding, allocator, list, count);
    if (!list[0]) throw new EngineError('onnxruntime gave no outputs');
    const values = pointersAt(list[0], Number(count[0]));
    ort.call('AllocatorFree', allocator, list[0]);
    const all = values.map((value) => {
      const info = ort.make('GetTensorTypeAndShape', value);
      const { type, shape } = typeAndShape(info) as { type: string; shape: number[] };
      ort.plain('ReleaseTensorTypeAndShapeInfo', info);
      if (type !== 'float32') return { type, shape };
      const bytes = 4 * shape.reduce((a, b) => a * b, 1);
      const memory = memoryAt(ort.make('GetTensorMutableData', value), bytes);
      return { type, shape, data: new Float32Array(memory).slice() };
    });
    for (const value of values) ort.plain('ReleaseValue', value);
    return all;
  }

  close(): void {
    this.ort.plain('ReleaseIoBinding', this.binding);
  }
}
