// The reference engine: the same ops on TensorFlow.js's plain JavaScript backend. Slow; the oracle of the tests.
import { tf } from '../tensor/tf.js';
import { EagerEngine } from './eager.js';

export function referenceEngine(): EagerEngine {
  return new EagerEngine('reference', 'cpu', tf.version.tfjs, 'cpu');
}
