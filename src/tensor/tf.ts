// The one door to TensorFlow.js: every file that needs its ops imports `tf` from here.
import * as tf from '@tensorflow/tfjs';

// Silences the "running TensorFlow.js in Node.js" banner; the engines check shapes and values themselves.
tf.enableProdMode();

export type { DataType, NamedTensorMap, Tensor, TensorInfo } from '@tensorflow/tfjs';
export { tf };
