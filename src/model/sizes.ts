// The sizes of a CAPI model, worked out once from the config.
//
// Axis legend for the model files: B images, N patches of the whole image, V visible patches, P predicted patches,
// R registers, T tokens, D encoder width, E predictor width, H heads, d head width, F hidden width, K prototypes.
// Tokens are rows of a 2-D tensor [T * B, D], position-major: row = position * B + image.
import { type Config, imageSize, patchCounts, predictorSizes } from '../config/index.js';

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
  predictorDim: number;
  predictorHeads: number;
  predictorDepth: number;
  predictorHidden: number;
  prototypes: number;
  clusteringBias: boolean;
  eps: number;
  ropeMin: number;
  ropeMax: number;
}

/** Sizes for the config's own image size, or for another one that the patch divides. */
export function modelSizes(config: Config, size: [number, number] = imageSize(config)): ModelSizes {
  const m = config.model;
  const predictor = predictorSizes(config);
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
    predictorDim: predictor.width,
    predictorHeads: predictor.heads,
    predictorDepth: m.predictor.depth,
    predictorHidden: Math.round(predictor.width * m.mlp_ratio),
    prototypes: config.clustering.prototypes,
    clusteringBias: config.clustering.bias,
    eps: m.norm_eps,
    ropeMin: m.rope_min,
    ropeMax: m.rope_max,
  };
}

export { patchCounts };
