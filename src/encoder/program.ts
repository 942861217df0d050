// The frozen encoder as a program: images in, global vector, registers and patch map out, at any size the patch divides.
import type { Program, TensorSpec } from '../engine/program.js';
import type { Weights } from '../model/blocks.js';
import { features } from '../model/encoder.js';
import { blockPrefix, isRope, studentShapes } from '../model/parameters.js';
import { patchesFromBytes, patchesFromPlanes } from '../model/patches.js';
import { wholeImageCoordinates } from '../model/positions.js';
import type { ModelSizes } from '../model/sizes.js';
import { type NamedTensorMap, tf } from '../tensor/tf.js';

export interface EncoderOptions {
  batch: number;
  mean?: number[];
  std?: number[];
  /** Input is normalised float [B, 3, H, W] instead of bytes [B, H, W, 3]. */
  planes?: boolean;
}

/** Parameters that evaluation reads: the encoder, the mask token and the first predictor block, if there is one. */
export function encoderParameters(s: ModelSizes): Record<string, number[]> {
  const first = blockPrefix('decoder', 0);
  const unread = s.predictor === 'fused' ? ['backbone.mask_token'] : [];
  return Object.fromEntries(
    Object.entries(studentShapes(s)).filter(
      ([n]) =>
        !n.startsWith('head.') && (!n.includes('.decoder.') || n.startsWith(first)) && !unread.includes(n),
    ),
  );
}

/**
 * Program `images -> global [B, E] (none of a fused model), registers [B, R, D], feature_map [B, gh, gw, D]`. Its state are the parameters of
 * encoderParameters, rotary frequencies included.
 */
export function encoderProgram(s: ModelSizes, o: EncoderOptions): Program {
  const shapes = encoderParameters(s);
  const inputs: Record<string, TensorSpec> = {};
  for (const [name, shape] of Object.entries(shapes)) inputs[name] = { shape, dtype: 'float32' };
  inputs.images = o.planes
    ? { shape: [o.batch, 3, s.height, s.width], dtype: 'float32' }
    : { shape: [o.batch, s.height, s.width, 3], dtype: 'uint8' };
  return {
    name: `capi_encoder_${s.dim}x${s.depth}_${s.height}x${s.width}`,
    inputs,
    state: Object.keys(shapes),
    run: (i) => {
      const w: Weights = { ...i };
      // Every block holds the same fixed frequencies: reading one copy lets the blocks share their tables.
      const shared = (part: 'encoder' | 'decoder') => i[`${blockPrefix(part, 0)}residual1.fn.rope.freqs`]!;
      for (const n of Object.keys(shapes)) {
        if (isRope(n)) w[n] = shared(n.includes('.encoder.') ? 'encoder' : 'decoder');
      }
      const pixels = o.planes
        ? patchesFromPlanes(i.images!, s, o.batch)
        : patchesFromBytes(i.images!, s, o.batch, o.mean!, o.std!);
      const coords = tf.tensor2d(wholeImageCoordinates(s), [s.registers + s.patches, 2]);
      const f = features(w, s, o.batch, pixels, coords);
      const out: NamedTensorMap = f.global ? { global: f.global } : {};
      out.feature_map = f.featureMap;
      if (s.registers > 0) out.registers = f.registers;
      return out;
    },
  };
}
