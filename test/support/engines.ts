// The engines that the conformance and parity suites run on: onnx and reference always, tensorflow where it loads.

import { OnnxEngine } from '../../src/engine/onnx/session.js';
import type { Engine } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';

export const engines: { name: string; open(): Promise<Engine> }[] = [
  { name: 'onnx', open: async () => new OnnxEngine({ threads: 2 }) },
  { name: 'reference', open: async () => referenceEngine() },
];
