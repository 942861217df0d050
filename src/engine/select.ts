// Chooses and probes engines: `auto` takes a GPU when one works, and a named engine that does not load is an error.
import { usableCores } from '../cores.js';
import { EngineError } from '../errors.js';
import { tf } from '../tensor/tf.js';
import { withExtractor } from './extractor.js';
import { chooseGpu } from './gpu/choose.js';
import { type DeviceName, type Engine, type EngineName, elements, type Program } from './program.js';

/** What to type to get onnxruntime's CUDA provider. */
export const ONNX_CUDA_FIX = 'With an NVIDIA GPU: scripts/install-cuda-provider.sh (docs/gpu.md)';

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
  if (!onCuda) return openNamed(name === 'auto' ? 'onnx' : name, device, threads);
  const cuda = await cudaEngine(threads);
  if ('version' in cuda) {
    return request.purpose === 'evaluate'
      ? withExtractor(await openNamed('onnx', 'cpu', threads), cuda)
      : cuda;
  }
  if (name === 'auto') {
    const { loadTensorflow } = await import('./tensorflow.js');
    const found = loadTensorflow(threads);
    if ('device' in found && found.device === 'cuda') return openNamed('tensorflow', 'cuda', threads);
    if (device === 'auto') return openNamed('onnx', 'cpu', threads);
  }
  throw new EngineError(`${cuda.failure}. ${ONNX_CUDA_FIX}`);
}

async function openNamed(name: EngineName, device: DeviceName | 'auto', threads: number): Promise<Engine> {
  switch (name) {
    case 'tensorflow': {
      const { tensorflowEngine } = await import('./tensorflow.js');
      return tensorflowEngine(device, threads);
    }
    case 'reference': {
      if (device !== 'auto' && device !== 'cpu') {
        throw new EngineError(`the reference engine runs on cpu only, not on ${device}`);
      }
      const { referenceEngine } = await import('./reference.js');
      return referenceEngine();
    }
    default: {
      const { OnnxEngine } = await import('./onnx/session.js');
      return new OnnxEngine({ device: device === 'auto' ? 'cpu' : device, threads });
    }
  }
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
  const wanted: { engine: EngineName; device: DeviceName; size: number }[] = [
    { engine: 'onnx', device: 'cpu', size: options.size ?? 1024 },
    { engine: 'onnx', device: 'webgpu', size: options.size ?? 1024 },
    { engine: 'onnx', device: 'cuda', size: options.size ?? 1024 },
    { engine: 'tensorflow', device: 'cuda', size: options.size ?? 1024 },
    { engine: 'tensorflow', device: 'cpu', size: options.size ?? 1024 },
    { engine: 'reference', device: 'cpu', size: Math.min(options.size ?? 128, 128) },
  ];
  const reports: EngineReport[] = [];
  for (const { engine: name, device, size } of wanted) {
    try {
      const engine = await openEngine({ name, device, threads: null });
      const gflops = await productRate(engine, size);
      reports.push({
        engine: name,
        device,
        loads: true,
        version: engine.version,
        gflops,
        detail: `${engine.threads ?? 1} thread${engine.threads === 1 ? '' : 's'}`,
      });
    } catch (error) {
      const { TENSORFLOW_FIX } = await import('./tensorflow.js');
      const { WEBGPU_FIX } = await import('./onnx/webgpu.js');
      const onnxFix = device === 'cuda' ? ONNX_CUDA_FIX : WEBGPU_FIX;
      const fix = name === 'tensorflow' ? TENSORFLOW_FIX : onnxFix;
      reports.push({ engine: name, device, loads: false, detail: (error as Error).message, fix });
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
