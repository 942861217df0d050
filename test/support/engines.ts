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
  name: 'onnx' | 'reference' | 'tensorflow' | 'webgpu';
  open(): Promise<Engine>;
  tool?: string;
}

export const engines: TestEngine[] = [
  { name: 'onnx', open: async () => new OnnxEngine({ threads: 2 }) },
  { name: 'reference', open: async () => referenceEngine() },
  { name: 'tensorflow', open: async () => tensorflowEngine('auto', 2), tool: 'tfjs-node' },
];

/** The onnx engine on WebGPU, on the software Vulkan driver: slow, so that only the suites that name it run on it. */
export const webgpu: TestEngine = {
  name: 'webgpu',
  open: async () => {
    // The Vulkan loader reads it when the first WebGPU session of the process opens.
    process.env.VK_ICD_FILENAMES ??= swiftshader;
    return new OnnxEngine({ device: 'webgpu', threads: 1 });
  },
  tool: 'webgpu-swiftshader',
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
