// The tensorflow engine: the same ops eagerly on libtensorflow, through tfjs-node-gpu or tfjs-node, whichever loads.
import { createRequire } from 'node:module';
import util from 'node:util';
import { EngineError } from '../errors.js';
import { tf } from '../tensor/tf.js';
import { EagerEngine } from './eager.js';
import type { DeviceName } from './program.js';

const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

/** What to type to get the engine. */
export const TENSORFLOW_FIX =
  'with an NVIDIA GPU: npm install @tensorflow/tfjs-node-gpu@4.22.0; without, or behind a firewall: scripts/build-tfjs-node.sh';

interface NodeBackend {
  isUsingGpuDevice?: boolean;
  binding?: { TF_Version?: string };
}

let loaded: { package: string; device: DeviceName; version: string } | { failure: string } | undefined;

/** Loads the binding once; says what came, or why nothing did. */
export function loadTensorflow(threads?: number): NonNullable<typeof loaded> {
  if (loaded) return loaded;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true'; // or it takes the whole GPU, and onnxruntime beside it finds none
  if (threads !== undefined) process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  // Node 23 and later lack a helper that the binding still calls.
  const legacy = util as unknown as Record<string, unknown>;
  legacy.isNullOrUndefined ??= (x: unknown): boolean => x === null || x === undefined;
  legacy.isArray ??= Array.isArray;
  const require = createRequire(import.meta.url);
  const before = tf.getBackend();
  const failures: string[] = [];
  for (const name of PACKAGES) {
    try {
      require(name);
      const backend = tf.backend() as unknown as NodeBackend;
      loaded = {
        package: name,
        device: backend.isUsingGpuDevice ? 'cuda' : 'cpu',
        version: backend.binding?.TF_Version ?? 'unknown',
      };
      if (before) tf.setBackend(before);
      return loaded;
    } catch (error) {
      const message = (error as Error).message.split('\n')[0]!;
      const absent =
        (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' && message.includes(`'${name}'`);
      failures.push(absent ? `${name} is not installed` : `${name}: ${message}`);
    }
  }
  loaded = { failure: failures.join('; ') };
  return loaded;
}

/** @throws EngineError with the line that mends it when the binding or the device is missing. */
export function tensorflowEngine(device: DeviceName | 'auto' = 'auto', threads?: number): EagerEngine {
  const found = loadTensorflow(threads);
  if ('failure' in found) {
    throw new EngineError(`the tensorflow engine does not load (${found.failure}). ${TENSORFLOW_FIX}`);
  }
  if (device !== 'auto' && device !== found.device) {
    throw new EngineError(
      `the tensorflow engine runs on ${found.device} here, not on ${device} (${found.package}). ${TENSORFLOW_FIX}`,
    );
  }
  return new EagerEngine('tensorflow', found.device, found.version, 'tensorflow', threads, true);
}
