// What turns a prediction into what the loss compares: prototypes behind a linear layer or an MLP, pixels, or nothing. Legend: sizes.ts.
import { geluLayer, l2Normalise, linear } from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';
import type { Weights } from './blocks.js';
import { HEAD } from './fold.js';
import type { ModelSizes } from './sizes.js';

/**
 * Parameters of the head.
 * - `linear`: CAPI's. L2-normalise, then a weight-normalised layer with a trainable gain.
 * - `mlp`: DINO's head before the same last layer (facebookresearch/dinov2, layers/dino_head.py: linear layers with bias, GELU between them, a
 *   bottleneck). The paper gives no sizes for its MLP heads; these are DINO's, as multiples of the width.
 * - `pixels`: one linear layer to the values of a patch (MAE, `decoder_pred`).
 * - `identity`: nothing (paper, Table 8, run A3bb3).
 */
export function headShapes(s: ModelSizes): Record<string, number[]> {
  const { type, layers, hidden, bottleneck } = s.head;
  if (type === 'identity') return {};
  if (type === 'pixels') {
    const values = 3 * s.patch * s.patch;
    return { 'head.pixels.weight': [values, s.predictorDim], 'head.pixels.bias': [values] };
  }
  const shapes: Record<string, number[]> = {};
  const width = type === 'mlp' ? bottleneck : s.predictorDim;
  for (let i = 0; type === 'mlp' && i < layers; i++) {
    const [from, to] = [i === 0 ? s.predictorDim : hidden, i === layers - 1 ? bottleneck : hidden];
    shapes[`head.mlp.${i}.weight`] = [to, from];
    shapes[`head.mlp.${i}.bias`] = [to];
  }
  shapes['head.last_layer.weight_g'] = [s.prototypes, 1];
  shapes['head.last_layer.weight_v'] = [s.prototypes, width];
  return shapes;
}

/** Predictions [T, E] to logits [T, K], pixel values [T, 3 p p], or themselves. `w` went through fold. */
export function headOutputs(w: Weights, s: ModelSizes, predictions: Tensor): Tensor {
  const { type, layers } = s.head;
  if (type === 'identity') return predictions;
  const layer = (x: Tensor, name: string): Tensor =>
    tf.add(linear(x, w[`head.${name}.weight`]!), w[`head.${name}.bias`]!);
  if (type === 'pixels') return layer(predictions, 'pixels');
  let x = predictions;
  for (let i = 0; type === 'mlp' && i < layers; i++) {
    x = layer(x, `mlp.${i}`);
    if (i < layers - 1) x = geluLayer(x);
  }
  return linear(l2Normalise(x, 1e-12), w[HEAD]!);
}
