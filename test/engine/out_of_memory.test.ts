// Memory that runs out: a real allocation that no machine can make, and the messages of runtimes that were not at hand.
import { describe, expect, it } from 'vitest';
import { runError } from '../../src/engine/out_of_memory.js';
import type { Program } from '../../src/engine/program.js';
import { EngineError } from '../../src/errors.js';
import { tf } from '../../src/tensor/tf.js';
import { onEveryEngine } from '../support/engines.js';

/** The product of a column and a row: 256 TiB, more than a process can address. */
const N = 2 ** 23;
const absurd: Program = {
  name: 'absurd',
  inputs: { x: { shape: [N, 1], dtype: 'float32' } },
  state: [],
  batch: { images: 96, atOnce: 48 },
  run: ({ x }) => ({ y: tf.sum(tf.exp(tf.matMul(x as never, x as never, false, true))) }),
};

onEveryEngine('memory that runs out', (engine) => {
  it('is an error that names the batch and what to type', async () => {
    const executable = await (await engine.open()).load(absurd);
    const error = await executable.run({ x: new Float32Array(N) }).catch((e: unknown) => e);
    console.log((error as Error).message);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as Error).message).toMatch(
      /^the \w+ engine ran out of memory on \w+ with a batch of 96 images, 48 at a time, in program absurd \(.+\): take fewer at a time with --micro-batch 24, or lower train.batch$/,
    );
    expect((error as EngineError).details).toMatchObject({ outOfMemory: true, batch: 96, micro_batch: 48 });
    await executable.dispose();
  });
});

describe('the message of memory that ran out', () => {
  const translated = (text: string, program: Program = absurd) =>
    runError(new Error(text), program, { name: 'onnx', device: 'webgpu' }) as Error;

  // As the runtimes word them; those of CUDA and WebGPU are from their sources, not from a run.
  it.each([
    'std::bad_alloc',
    'Non-zero status code returned while running Mul node. Name:"" Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 1073741824',
    'Available memory of 12 is smaller than requested bytes of 4096',
    'OOM when allocating tensor with shape[64,1024] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc',
    'CUDA failure 2: out of memory ; GPU=0 ; hostname=node',
    'CUDA_ERROR_OUT_OF_MEMORY: out of memory',
    'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY',
    'Device was lost: A valid external Instance reference no longer exists.',
  ])('is known: %s', (text) => {
    expect(translated(text).message).toContain('ran out of memory on webgpu with a batch of 96 images');
  });

  it('suggests what there is to suggest', () => {
    const of = (batch: Program['batch']) =>
      translated('std::bad_alloc', { ...absurd, ...(batch ? { batch } : {}) }).message;
    expect(of({ images: 30, atOnce: 30 })).toMatch(/--micro-batch 15,/);
    expect(of({ images: 30, atOnce: 5 })).toMatch(/--micro-batch 2,/);
    expect(of({ images: 30, atOnce: 1 })).toMatch(
      /: lower train.batch, or the size of the model or the images$/,
    );
    const { batch, ...encoder } = absurd;
    expect(translated('std::bad_alloc', encoder).message).toMatch(
      /in program absurd \(std::bad_alloc\): give it a smaller batch$/,
    );
  });

  it('leaves other errors as they are', () => {
    const error = new Error('the shapes [1] and [2] do not match');
    expect(runError(error, absurd, { name: 'onnx', device: 'cpu' })).toBe(error);
  });
});
