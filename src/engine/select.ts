// Chooses and probes engines: `auto` takes a GPU when one works, and a named engine that does not load is an error.
import { usableCores } from '../cores.js';
import { EngineError } from '../errors.js';
import { tf } from '../tensor/tf.js';
import { withExtractor } from './extractor.js';
import { chooseGpu } from './gpu/choose.js';
import { type DeviceName, type Engine, type EngineName, elements, type Program } from './program.js';

/** What to type to get onnxruntime's CUDA provider. */
export const ONNX_CUDA_FIX = 'With an NVIDIA GPU: scripts/install-cuda-provider.sh (docs/gpu.md)';

/** An engine as it is opened and tried. */
interface EngineRow {
  /** Devices that it may run on, in the order that they are tried in. */
  devices: readonly DeviceName[];
  /** Side of the square product that its speed is measured with. */
  side: number;
  /** @throws EngineError with what to type when engine or device is not there */
  open(device: DeviceName | 'auto', threads: number): Promise<Engine>;
  /** What to type to get it on a device. */
  fix?(device: DeviceName): Promise<string>;
}

export const ENGINES: Record<EngineName, EngineRow> = {
  onnx: {
    devices: ['cpu', 'webgpu', 'cuda'],
    side: 1024,
    async open(device, threads) {
      const { OnnxEngine } = await import('./onnx/session.js');
      return new OnnxEngine({ device: device === 'auto' ? 'cpu' : device, threads });
    },
    fix: async (device) =>
      device === 'cuda' ? ONNX_CUDA_FIX : (await import('./onnx/webgpu.js')).WEBGPU_FIX,
  },
  tensorflow: {
    devices: ['cuda', 'cpu'],
    side: 1024,
    open: async (device, threads) => (await import('./tensorflow.js')).tensorflowEngine(device, threads),
    fix: async () => (await import('./tensorflow.js')).TENSORFLOW_FIX,
  },
  reference: {
    devices: ['cpu'],
    side: 128,
    async open(device) {
      if (device !== 'auto' && device !== 'cpu')
        throw new EngineError(`the reference engine runs on cpu only, not on ${device}`);
      return (await import('./reference.js')).referenceEngine();
    },
  },
};

/** Every engine on every device that it may run on. */
export const enginesOnDevices = (): { engine: EngineName; device: DeviceName }[] =>
  Object.entries(ENGINES).flatMap(([engine, { devices }]) =>
    devices.map((device) => ({ engine: engine as EngineName, device })),
  );

export interface EngineRequest {
  name: EngineName | 'auto';
  device: DeviceName | 'auto';
  threads: number | null;
  /** Number of the NVIDIA GPU, from 0 (gpu/choose.ts); null: what CUDA shows first. */
  gpu?: number | null;
  /** `evaluate`: most of the work is frozen encoders. */
  purpose?: 'train' | 'evaluate';
}

/**
 * Opens an engine. Modules load on demand, so that an engine that is not asked for costs nothing. `auto` takes CUDA where it works: onnx with its
 * CUDA provider, else tensorflow; and the CPU otherwise. An evaluation by onnx on CUDA runs frozen encoders there and the heads on the CPU.
 * @throws EngineError with what to type when the engine or device asked for is not there.
 */
export async function openEngine(request: EngineRequest): Promise<Engine> {
  const threads = request.threads ?? usableCores();
  const { name, gpu } = request;
  const device = typeof gpu === 'number' ? chooseGpu(gpu, request.device) : request.device;
  process.env.NVIDIA_TF32_OVERRIDE ??= '0'; // on CUDA float32 is float32, not 10 bits of mantissa in every product
  const onCuda =
    device === 'cuda' ? name === 'auto' || name === 'onnx' : device === 'auto' && name === 'auto';
  if (!onCuda) return ENGINES[name === 'auto' ? 'onnx' : name].open(device, threads);
  const cuda = await cudaEngine(threads);
  if ('version' in cuda) {
    return request.purpose === 'evaluate'
      ? withExtractor(await ENGINES.onnx.open('cpu', threads), cuda)
      : cuda;
  }
  if (name === 'auto') {
    const { loadTensorflow } = await import('./tensorflow.js');
    const found = loadTensorflow(threads);
    if ('device' in found && found.device === 'cuda') return ENGINES.tensorflow.open('cuda', threads);
    if (device === 'auto') return ENGINES.onnx.open('cpu', threads);
  }
  throw new EngineError(`${cuda.failure}. ${ONNX_CUDA_FIX}`);
}

/** The onnx engine on CUDA, if a first program runs there. */
export async function cudaEngine(threads: number): Promise<Engine | { failure: string }> {
  const { OnnxEngine, cudaLibraries } = await import('./onnx/session.js');
  const { folder, missing } = cudaLibraries();
  if (missing.length > 0)
    return { failure: `onnxruntime's CUDA provider is not installed: ${folder} lacks ${missing.join(', ')}` };
  try {
    const engine = new OnnxEngine({ device: 'cuda', threads });
    const shape = [1];
    const double: Program = {
      name: 'double',
      inputs: { x: { shape, dtype: 'float32' } },
      state: [],
      run: ({ x }) => ({ y: tf.add(x!, x!) }),
    };
    const executable = await engine.load(double);
    await executable.run({ x: Float32Array.of(1) });
    await executable.dispose();
    return engine;
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

export interface EngineReport {
  engine: EngineName;
  device: DeviceName;
  loads: boolean;
  version?: string;
  /** Measured rate of a 1024 x 1024 x 1024 float32 product. */
  gflops?: number;
  detail: string;
  /** What to type to get it. */
  fix?: string;
}

/** Tries every engine on the devices that it knows; never throws. */
export async function probeEngines(options: { size?: number } = {}): Promise<EngineReport[]> {
  const reports: EngineReport[] = [];
  for (const { engine: name, device } of enginesOnDevices()) {
    const { side, fix } = ENGINES[name];
    try {
      const engine = await openEngine({ name, device, threads: null });
      const gflops = await productRate(engine, Math.min(side, options.size ?? side));
      reports.push({
        engine: name,
        device,
        loads: true,
        version: engine.version,
        gflops,
        detail: `${engine.threads ?? 1} thread${engine.threads === 1 ? '' : 's'}`,
      });
    } catch (error) {
      const { message: detail } = error as Error;
      reports.push({
        engine: name,
        device,
        loads: false,
        detail,
        ...(fix ? { fix: await fix(device) } : {}),
      });
    }
  }
  return reports;
}

/** Why an engine does not load, without what to type (which stands below it) and without the places in a library's sources. */
export function reasonOf({ detail, fix }: { detail: string; fix?: string }): string {
  const text = fix === undefined ? detail : detail.replace(fix, '');
  return text.replace(/: \/\S+\.(cc|cpp):\d+ .* was false\. /, ': ').trim();
}

/** GFLOP/s of an n x n x n float32 product, the best of five runs after a warm-up. */
export async function productRate(engine: Engine, n: number): Promise<number> {
  const shape = [n, n];
  const program: Program = {
    name: `product_${n}`,
    inputs: { a: { shape, dtype: 'float32' }, b: { shape, dtype: 'float32' } },
    state: [],
    // The sum keeps the copy of the result out of the time.
    run: ({ a, b }) => ({ sum: tf.sum(tf.matMul(a as never, b as never)) }),
  };
  const executable = await engine.load(program);
  const operand = new Float32Array(elements(shape)).map((_, i) => ((i * 7919) % 97) / 97);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    await executable.run({ a: operand, b: operand });
    if (i > 0) best = Math.min(best, performance.now() - start);
  }
  await executable.dispose();
  return (2 * n ** 3) / best / 1e6;
}
