// The engines that the conformance and parity suites run on: onnx and reference always, tensorflow where it is built.

import { describe } from 'vitest';
import { OnnxEngine } from '../../src/engine/onnx/session.js';
import type { Engine } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { tensorflowEngine } from '../../src/engine/tensorflow.js';
import { suiteNeeding } from './suites.js';

/** An engine that a suite runs on; `tool` names what it needs (test/support/tools.ts). */
export interface TestEngine {
  name: 'onnx' | 'reference' | 'tensorflow';
  open(): Promise<Engine>;
  tool?: string;
}

export const engines: TestEngine[] = [
  { name: 'onnx', open: async () => new OnnxEngine({ threads: 2 }) },
  { name: 'reference', open: async () => referenceEngine() },
  { name: 'tensorflow', open: async () => tensorflowEngine('auto', 2), tool: 'tfjs-node' },
];

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
