// One place that knows how each runtime says that memory ran out, and what a user can do about it.
import { EngineError } from '../errors.js';
import type { Engine, Program } from './program.js';

const MESSAGES = [
  /(std::)?bad_alloc|bad allocation/i, // C++: onnxruntime and libtensorflow on the CPU
  /failed to allocate memory|smaller than requested bytes/i, // onnxruntime's arenas
  /OOM when allocating|resource ?exhausted/i, // TensorFlow
  /out of (device |host )?memory|OUT_OF_(DEVICE_|HOST_)?MEMORY/i, // CUDA, WebGPU, Vulkan
  /device (was |is )?lost/i, // WebGPU, when the driver gave up
  /array buffer allocation failed|invalid typed array length/i, // JavaScript
];

/** What `error` of a run should be: an EngineError that names the batch where memory ran out, else itself. */
export function runError(error: unknown, program: Program, engine: Pick<Engine, 'name' | 'device'>): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const found = MESSAGES.map((message) => message.exec(text)).find((match) => match !== null);
  if (error instanceof EngineError || !found) return error;
  const where = `the ${engine.name} engine ran out of memory on ${engine.device}`;
  const reason = `(${text.slice(found.index).split('\n')[0]})`; // without the place in the runtime's sources before it
  const { images, atOnce } = program.batch ?? {};
  if (images === undefined || atOnce === undefined) {
    return new EngineError(`${where} in program ${program.name} ${reason}: give it a smaller batch`, {
      outOfMemory: true,
    });
  }
  const next = smaller(images, atOnce);
  const advice =
    next === undefined
      ? 'lower train.batch, or the size of the model or the images'
      : `take fewer at a time with --micro-batch ${next}, or lower train.batch`;
  return new EngineError(
    `${where} with a batch of ${images} images, ${atOnce} at a time, in program ${program.name} ${reason}: ${advice}`,
    { outOfMemory: true, batch: images, micro_batch: atOnce },
  );
}

/** The largest divisor of `images` that is at most half of `atOnce`. */
function smaller(images: number, atOnce: number): number | undefined {
  for (let n = Math.floor(atOnce / 2); n > 0; n--) if (images % n === 0) return n;
  return undefined;
}
