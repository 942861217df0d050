// WebGPU on a machine without an adapter. A file of its own, because a process looks for adapters until it has one.
import { expect, it } from 'vitest';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import { EngineError } from '../../../src/errors.js';
import { tf } from '../../../src/tensor/tf.js';

// Elsewhere the adapter is found without the Vulkan loader, which is what this variable blinds.
it.runIf(process.platform === 'linux')('is one line that says what to do', async () => {
  process.env.VK_ICD_FILENAMES = '/nowhere/driver.json';
  process.env.VK_DRIVER_FILES = '/nowhere/driver.json';
  const program = {
    name: 'negation',
    inputs: { x: { shape: [1], dtype: 'float32' as const } },
    state: [],
    run: ({ x }: Record<string, never>) => ({ y: tf.neg(x!) }),
  };
  const error = await new OnnxEngine({ device: 'webgpu' }).load(program).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(EngineError);
  const { message } = error as EngineError;
  expect(message).toMatch(/^onnxruntime finds no WebGPU adapter \(.+\)\. WebGPU needs a GPU with a Vulkan/);
  expect(message).toMatch(/apt-get install libvulkan1 .*; or take --device cpu$/);
  expect(message).not.toContain('\n');
});
