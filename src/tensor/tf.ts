// The one door to TensorFlow.js: every file that needs its ops imports `tf` from here.
import * as tf from '@tensorflow/tfjs';

// Silences the "running TensorFlow.js in Node.js" banner; the engines check shapes and values themselves.
tf.enableProdMode();

// TensorFlow.js multiplies the gradient of a sum by a constant tensor of ones, as large as what was summed: a gigabyte in the
// step of a large model. Filling on the device gives the same numbers, and the passes of the onnx engine see through it.
tf.registerGradient({
  kernelName: 'Sum',
  inputsToSave: ['x'],
  gradFunc: (dy, saved, attrs) => {
    const [x] = saved as [tf.Tensor];
    const axes = tf.util.parseAxisParam(attrs.axis as number | number[], x.shape);
    const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
    return { x: () => tf.mul(tf.reshape(dy as tf.Tensor, kept), tf.fill(x.shape, 1)) };
  },
});

export type { DataType, NamedTensorMap, Tensor, TensorInfo } from '@tensorflow/tfjs';
export { tf };
