// The engines that the conformance and parity suites run on: onnx and reference always, tensorflow where it is built.

import { describe } from 'vitest';
import { OnnxEngine } from '../../src/engine/onnx/session.js';
import type { Engine } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { tensorflowEngine } from '../../src/engine/tensorflow.js';
import { suiteNeeding } from './suites.js';
import { swiftshader } from './tools.js';

/** An engine that a suite runs on; `tool` names what it needs (test/support/tools.ts). */
export interface TestEngine {
  name: 'onnx' | 'reference' | 'tensorflow' | 'webgpu' | 'cuda';
  open(): Promise<Engine>;
  tool?: string;
}

export const engines: TestEngine[] = [
  { name: 'onnx', open: async () => new OnnxEngine({ threads: 2 }) },
  { name: 'reference', open: async () => referenceEngine() },
  { name: 'tensorflow', open: async () => tensorflowEngine('auto', 2), tool: 'tfjs-node' },
];

/** Makes the software Vulkan driver the one that the first WebGPU session of this process finds. */
export function useSwiftshader(): void {
  process.env.VK_ICD_FILENAMES ??= swiftshader;
}

/** The onnx engine on WebGPU, in software: slow, so that only the suites that name it run on it. */
export const webgpu: TestEngine = {
  name: 'webgpu',
  open: async () => {
    useSwiftshader();
    return new OnnxEngine({ device: 'webgpu', threads: 1 });
  },
  tool: 'webgpu-swiftshader',
};

/** The onnx engine on CUDA, where there is an NVIDIA GPU. */
export const cuda: TestEngine = {
  name: 'cuda',
  open: async () => new OnnxEngine({ device: 'cuda', threads: 1 }),
  tool: 'onnxruntime-cuda',
};

/** Registers the suite `NAME on ENGINE` for every engine; one whose tool is missing is skipped by name, or failed as CAPI_REQUIRE says. */
export function onEveryEngine(
  name: string,
  body: (engine: TestEngine) => void,
  among: readonly TestEngine[] = engines,
): void {
  for (const engine of among) {
    const suite = engine.tool === undefined ? describe : suiteNeeding(engine.tool);
    suite(`${name} on ${engine.name}`, () => body(engine));
  }
}

/** The same on WebGPU as well, for the suites that hold every device to the contract. */
export const onEveryDevice = (name: string, body: (engine: TestEngine) => void): void =>
  onEveryEngine(name, body, [...engines, webgpu, cuda]);
