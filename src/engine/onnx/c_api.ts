// The C interface of onnxruntime, called through koffi in the library that the package onnxruntime-node ships: the one door to both.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as koffi from 'koffi';
import { EngineError } from '../../errors.js';

/** An opaque pointer of the library. */
export type Handle = bigint;

/**
 * The version of `OrtApi` that we ask for. The struct of function pointers only grows at its end and `GetApi(version)`
 * is null in a library that is older, so places below hold for every later release.
 * Source: onnxruntime 1.30, include/onnxruntime/core/session/onnxruntime_c_api.h, and the static_asserts on offsets in onnxruntime_c_api.cc.
 */
const API_VERSION = 23;

const ptr = 'void *';
const out = koffi.out(koffi.pointer(ptr));
const size = 'size_t';
const outSize = koffi.out(koffi.pointer(size));
const outInt = koffi.out(koffi.pointer('int'));
const strings = koffi.pointer('str');
const pointers = koffi.pointer(ptr);
const path = process.platform === 'win32' ? 'str16' : 'str'; // ORTCHAR_T
const shape = koffi.pointer('int64_t');

type Type = Parameters<typeof koffi.sizeof>[0];
type Places = Record<string, readonly [place: number, parameters: readonly Type[], returns?: string]>;

/** Functions that return a status, by name: place in OrtApi, and parameters. */
const reporting = {
  CreateEnv: [3, ['int', 'str', out]],
  CreateSession: [7, [ptr, path, ptr, out]],
  CreateSessionFromArray: [8, [ptr, ptr, size, ptr, out]],
  CreateSessionOptions: [10, [out]],
  EnableProfiling: [14, [ptr, path]],
  DisableMemPattern: [17, [ptr]],
  SetSessionLogSeverityLevel: [22, [ptr, 'int']],
  SetSessionGraphOptimizationLevel: [23, [ptr, 'int']],
  SetIntraOpNumThreads: [24, [ptr, 'int']],
  SessionGetInputCount: [30, [ptr, outSize]],
  SessionGetOutputCount: [31, [ptr, outSize]],
  SessionGetInputTypeInfo: [33, [ptr, size, out]],
  SessionGetOutputTypeInfo: [34, [ptr, size, out]],
  SessionGetInputName: [36, [ptr, size, ptr, out]],
  SessionGetOutputName: [37, [ptr, size, ptr, out]],
  CreateRunOptions: [39, [out]],
  CreateTensorAsOrtValue: [48, [ptr, shape, size, 'int', out]],
  CreateTensorWithDataAsOrtValue: [49, [ptr, ptr, size, shape, size, 'int', out]],
  GetTensorMutableData: [51, [ptr, out]],
  CastTypeInfoToTensorInfo: [55, [ptr, out]],
  GetTensorElementType: [60, [ptr, outInt]],
  GetDimensionsCount: [61, [ptr, outSize]],
  GetDimensions: [62, [ptr, ptr, size]],
  GetSymbolicDimensions: [63, [ptr, ptr, size]],
  GetTensorTypeAndShape: [65, [ptr, out]],
  CreateCpuMemoryInfo: [69, ['int', 'int', out]],
  AllocatorFree: [76, [ptr, ptr]],
  GetAllocatorWithDefaultOptions: [78, [out]],
  AddSessionConfigEntry: [130, [ptr, 'str', 'str']],
  CreateAllocator: [131, [ptr, ptr, out]],
  RunWithBinding: [133, [ptr, ptr, ptr]],
  CreateIoBinding: [134, [ptr, out]],
  BindInput: [136, [ptr, 'str', ptr]],
  BindOutput: [137, [ptr, 'str', ptr]],
  BindOutputToDevice: [138, [ptr, 'str', ptr]],
  GetBoundOutputValues: [140, [ptr, ptr, out, outSize]],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, [ptr, ptr]],
  CreateCUDAProviderOptions: [205, [out]],
  UpdateCUDAProviderOptions: [206, [ptr, strings, strings, size]],
  SessionOptionsAppendExecutionProvider: [216, [ptr, 'str', strings, strings, size]],
  RegisterExecutionProviderLibrary: [301, [ptr, 'str', path]],
  AllocatorGetStats: [319, [ptr, out]],
  SessionGetMemoryInfoForInputs: [380, [ptr, ptr, size]],
  SessionGetMemoryInfoForOutputs: [381, [ptr, ptr, size]],
  CopyTensors: [386, [ptr, pointers, pointers, ptr, size]],
} satisfies Places;
export type Reporting = keyof typeof reporting;

/** The others. */
const plain = {
  GetErrorMessage: [2, [ptr], 'str'],
  ReleaseEnv: [92, [ptr]],
  ReleaseStatus: [93, [ptr]],
  ReleaseMemoryInfo: [94, [ptr]],
  ReleaseSession: [95, [ptr]],
  ReleaseValue: [96, [ptr]],
  ReleaseRunOptions: [97, [ptr]],
  ReleaseTypeInfo: [98, [ptr]],
  ReleaseTensorTypeAndShapeInfo: [99, [ptr]],
  ReleaseSessionOptions: [100, [ptr]],
  ReleaseAllocator: [132, [ptr]],
  ReleaseIoBinding: [135, [ptr]],
  ReleaseCUDAProviderOptions: [208, [ptr]],
  MemoryInfoGetDeviceType: [225, [ptr, outInt]],
  GetKeyValue: [297, [ptr, 'str'], 'str'],
  ReleaseKeyValuePairs: [300, [ptr]],
} satisfies Places;
export type Plain = keyof typeof plain;

/** Where npm packages keep the library: the same name in every release of one API generation. */
const libraries: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.1.dylib',
  win32: 'onnxruntime.dll',
};

type Native = ReturnType<typeof koffi.decode> & { async: (...args: unknown[]) => void };

/** onnxruntime's functions by name. Handles go in and come out as they are: whoever makes one releases it. */
class OrtApi {
  readonly version: string;
  private readonly functions = new Map<string, Native>();
  /** Kept, since koffi unloads a library that nothing refers to, and functions behind pointers do not. */
  private readonly library: ReturnType<typeof koffi.load>;

  constructor() {
    // Calls run on stacks of koffi's own; the library was written for those of threads, kernels keep panels on them.
    koffi.config({ ...koffi.config(), sync_stack_size: 8 * 2 ** 20, async_stack_size: 8 * 2 ** 20 });
    this.library = koffi.load(libraryPath());
    const base = koffi.struct({ GetApi: ptr, GetVersionString: ptr });
    const found = koffi.decode(this.library.func('OrtGetApiBase', ptr, [])(), base);
    this.version = koffi.decode(found.GetVersionString, koffi.proto('str', []))();
    const api = koffi.decode(found.GetApi, koffi.proto(ptr, ['uint32_t']))(API_VERSION);
    if (!api) {
      throw new EngineError(
        `onnxruntime ${this.version} has no C interface of version ${API_VERSION}: install onnxruntime-node 1.23 or newer`,
      );
    }
    for (const [name, [place, parameters, returns]] of Object.entries<Places[string]>({
      ...reporting,
      ...plain,
    })) {
      const type = koffi.proto(returns ?? (name in reporting ? ptr : 'void'), [...parameters]);
      const pointer = koffi.decode(api, place * koffi.sizeof(ptr), ptr);
      this.functions.set(name, koffi.decode(pointer, type));
    }
  }

  /** @throws Error with onnxruntime's message */
  call(name: Reporting, ...args: unknown[]): void {
    this.check(this.functions.get(name)!(...args));
  }

  /** Like `call`, for functions whose last parameter is what they make. */
  make(name: Reporting, ...args: unknown[]): Handle {
    const made: [Handle | null] = [null];
    this.call(name, ...args, made);
    return made[0] as Handle;
  }

  /** Like `call`, for functions whose last parameter is a number that they give. */
  number(name: Reporting, ...args: unknown[]): number {
    const given = [0];
    this.call(name, ...args, given);
    return Number(given[0]);
  }

  /** Like `call`, on a thread of Node's pool, so that the event loop goes on. What `args` point to must stay alive until then. */
  async callAside(name: Reporting, ...args: unknown[]): Promise<void> {
    const status = await new Promise<Handle | null>((resolve, reject) => {
      const done = (error: Error | null, result: Handle | null): void =>
        error ? reject(error) : resolve(result);
      this.functions.get(name)!.async(...args, done);
    });
    this.check(status);
  }

  plain(name: Plain, ...args: unknown[]): unknown {
    return this.functions.get(name)!(...args);
  }

  private check(status: Handle | null): void {
    if (!status) return;
    const message = this.plain('GetErrorMessage', status) as string;
    this.plain('ReleaseStatus', status);
    throw new Error(message);
  }
}

/** The libraries of onnxruntime's CUDA provider on Linux: the first is the provider. */
export const CUDA_PROVIDER = [
  'libonnxruntime_providers_cuda.so',
  'libonnxruntime_providers_shared.so',
] as const;

/** Where the package keeps the library, and its providers beside it. */
export function libraryFolder(): string {
  const main = createRequire(import.meta.url).resolve('onnxruntime-node');
  return join(dirname(main), '../bin/napi-v6', process.platform, process.arch);
}

function libraryPath(): string {
  const { platform, arch } = process;
  const name = libraries[platform];
  if (name) return join(libraryFolder(), name);
  throw new EngineError(`onnxruntime-node ships no library for ${platform}-${arch}: use --engine reference`);
}

let loaded: OrtApi | undefined;

/**
 * The library, loaded at the first call and never unloaded: its thread pools and devices live as long as the process.
 * @throws EngineError where the package holds none for this platform
 */
export function ortApi(): OrtApi {
  if (!loaded) {
    try {
      loaded = new OrtApi();
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError(`the library of onnxruntime-node does not load: ${(error as Error).message}`);
    }
  }
  return loaded;
}

/** Pointers that the library wrote one after another at `at`. */
export const pointersAt = (at: Handle, count: number): Handle[] =>
  koffi.decode(at, koffi.array(ptr, count)) as Handle[];

/** A view of memory of the library: valid as long as the library keeps it, so copy. */
export const memoryAt = (at: Handle, bytes: number): ArrayBuffer => koffi.view(at, bytes);

/** The text that ends with a zero byte at `at`. */
export const textAt = (at: Handle): string => koffi.decode.string(at);
