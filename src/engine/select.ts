// Chooses and probes engines: `auto` takes a GPU when one works, and a named engine that does not load is an error.
import { availableParallelism } from 'node:os';
import { EngineError } from '../errors.js';
import { tf } from '../tensor/tf.js';
import { type DeviceName, type Engine, type EngineName, elements, type Program } from './program.js';

export interface EngineRequest {
  name: EngineName | 'auto';
  device: DeviceName | 'auto';
  threads: number | null;
}

/**
 * Opens an engine. Modules load on demand, so that an engine that is not asked for costs nothing.
 * @throws EngineError with what to type when the engine or device asked for is not there.
 */
export async function openEngine(request: EngineRequest): Promise<Engine> {
  const threads = request.threads ?? availableParallelism();
  const { name, device } = request;
  if (name === 'auto' && device !== 'webgpu') {
    const { loadTensorflow } = await import('./tensorflow.js');
    const found = device === 'cpu' ? { failure: 'not asked for' } : loadTensorflow(threads);
    if ('device' in found && found.device === 'cuda') return openEngine({ ...request, name: 'tensorflow' });
    if (device === 'cuda') return openEngine({ ...request, name: 'tensorflow' });
  }
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
      if (device === 'cuda') {
        throw new EngineError(
          'the onnx engine does not train on cuda (onnxruntime-node binds no CUDA memory): use --engine tensorflow',
        );
      }
      const engine = new OnnxEngine({ device: device === 'auto' ? 'cpu' : device, threads });
      return engine;
    }
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
      const fix = name === 'tensorflow' ? TENSORFLOW_FIX : WEBGPU_FIX;
      reports.push({ engine: name, device, loads: false, detail: (error as Error).message, fix });
    }
  }
  return reports;
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
