// The table of kernels that the onnx engine knows: shape inference, lowering to ONNX nodes, floating-point operations.

import type { Attrs, DType, Node, Value } from '../graph/ir.js';
import type { OnnxBuilder } from './builder.js';

export type Typed = [shape: number[], dtype: DType];

export interface Rule {
  /** Names of the inputs in order, as the kernel's `inputs` record has them; `null` for numbered inputs (Concat, AddN). */
  inputs: string[] | null;
  /** Shapes and types of the outputs. */
  infer(inputs: Value[], attrs: Attrs): Typed[];
  /** Emits ONNX nodes; returns the names of the outputs. */
  lower(b: OnnxBuilder, node: Node, names: string[]): string[];
  /** Floating-point operations; default: one for each output element. */
  flop?(node: Node): number;
  /** Runs on the plain JavaScript backend, so that constants can be folded. */
  foldable?: boolean;
}

const rules = new Map<string, Rule>();

export function defineRule(kernel: string, rule: Rule): void {
  rules.set(kernel, rule);
}

export const ruleOf = (kernel: string): Rule | undefined => rules.get(kernel);
export const knownKernels = (): string[] => [...rules.keys()].sort();
