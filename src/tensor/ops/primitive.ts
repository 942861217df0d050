// Composite kernels: one fused kernel where the active backend has it, plain TensorFlow.js ops everywhere else.
import { type NamedTensorMap, type Tensor, tf } from '../tf.js';

let plain = false;

/** Runs `work` with every composite kernel decomposed, whatever the active backend has. */
export function decomposed<T>(work: () => T): T {
  const before = plain;
  plain = true;
  try {
    return work();
  } finally {
    plain = before;
  }
}

/**
 * Runs the kernel `name` if the active backend registers it (the tracing backend does), else `decompose`.
 * Has no gradient of its own: call it inside tf.customGrad, or where nothing is differentiated.
 */
export function primitive<T extends Tensor | Tensor[]>(
  name: string,
  inputs: NamedTensorMap,
  attrs: Record<string, unknown>,
  decompose: () => T,
): T {
  if (!plain && tf.getKernel(name, tf.getBackend())) {
    return tf.engine().runKernel(name, inputs, attrs as never) as T;
  }
  return decompose();
}
