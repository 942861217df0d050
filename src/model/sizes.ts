// The sizes of a CAPI model, worked out once from the config.
//
// Axis legend for the model files: B images, N patches of the whole image, V visible patches, P predicted patches,
// R registers, T tokens, D encoder width, E predictor width, H heads, d head width, F hidden width, K prototypes.
// Tokens are rows of a 2-D tensor [T * B, D], position-major: row = position * B + image.
import { type Config, imageSize, type Loss, lossOf, predictorSizes } from '../config/index.js';

export interface ModelSizes {
  height: number;
  width: number;
  patch: number;
  gridHeight: number;
  gridWidth: number;
  patches: number;
  dim: number;
  heads: number;
  depth: number;
  hidden: number;
  registers: number;
  registerCoordinates: 'edge' | 'zeros';
  /** How predictions read the encoder; `fused`: the encoder predicts, and predictorDepth is 0. */
  predictor: 'cross' | 'self' | 'fused';
  positions: 'rope' | 'learned';
  /** Rows and columns of the learned position tables: the grid of the training images. */
  tableHeight: number;
  tableWidth: number;
  predictorDim: number;
  predictorHeads: number;
  predictorDepth: number;
  predictorHidden: number;
  prototypes: number;
  /** Whether targets come from an online clustering layer. */
  clustered: boolean;
  clusteringBias: boolean;
  head: HeadSizes;
  eps: number;
  ropeMin: number;
  ropeMax: number;
}

/** The student's head, see head.ts; `layers` are those of its MLP. */
export interface HeadSizes {
  type: Loss['head'];
  layers: number;
  hidden: number;
  bottleneck: number;
}

/** Sizes for the config's own image size, or for another one that the patch divides. */
export function modelSizes(config: Config, size: [number, number] = imageSize(config)): ModelSizes {
  const m = config.model;
  const predictor = predictorSizes(config);
  const fused = m.predictor.type === 'fused';
  const [ownHeight, ownWidth] = imageSize(config);
  const [height, width] = size;
  const [gridHeight, gridWidth] = [height / m.patch_size, width / m.patch_size];
  return {
    height,
    width,
    patch: m.patch_size,
    gridHeight,
    gridWidth,
    patches: gridHeight * gridWidth,
    dim: m.width,
    heads: m.heads,
    depth: m.depth,
    hidden: Math.round(m.width * m.mlp_ratio),
    registers: m.registers,
    registerCoordinates: m.register_coordinates,
    predictor: m.predictor.type,
    positions: m.positions,
    tableHeight: ownHeight / m.patch_size,
    tableWidth: ownWidth / m.patch_size,
    predictorDim: predictor.width,
    predictorHeads: predictor.heads,
    predictorDepth: fused ? 0 : m.predictor.depth,
    predictorHidden: Math.round(predictor.width * m.mlp_ratio),
    prototypes: config.clustering.prototypes,
    clustered: lossOf(config).targets === 'clustering',
    clusteringBias: config.clustering.bias,
    head: {
      type: lossOf(config).head,
      layers: config.loss.mlp_layers,
      hidden: config.loss.mlp_hidden ?? 2 * predictor.width,
      bottleneck: config.loss.mlp_bottleneck ?? Math.max(1, Math.round(predictor.width / 4)),
    },
    eps: m.norm_eps,
    ropeMin: m.rope_min,
    ropeMax: m.rope_max,
  };
}
