// Coordinates of patches and registers, on the host: they depend on the mask, and a program takes them as inputs.
import type { ModelSizes } from './sizes.js';

/** (row, column) of each patch in [0, 1]: N x 2, the first and last patch of an axis lie on 0 and 1. */
export function patchCoordinates(gridHeight: number, gridWidth: number): Float32Array {
  const out = new Float32Array(gridHeight * gridWidth * 2);
  const at = (i: number, n: number): number => (n > 1 ? i / (n - 1) : 0);
  for (let r = 0, o = 0; r < gridHeight; r++) {
    for (let c = 0; c < gridWidth; c++) {
      out[o++] = at(r, gridHeight);
      out[o++] = at(c, gridWidth);
    }
  }
  return out;
}

/**
 * Register coordinates on the unit square, R x 2. `edge`: R/4 on each of the four sides, in order along the border;
 * `zeros`: the corner (0, 0). Source: official `register_coordinates`.
 */
export function unitRegisterCoordinates(registers: number, mode: 'edge' | 'zeros'): Float64Array {
  const out = new Float64Array(registers * 2);
  if (mode === 'zeros') return out;
  const side = registers / 4;
  for (let j = 0; j < side; j++) {
    const c = j / side;
    out.set([c, 0], 2 * j);
    out.set([1, c], 2 * (side + j));
    out.set([1 - c, 1], 2 * (2 * side + j));
    out.set([0, 1 - c], 2 * (3 * side + j));
  }
  return out;
}

/** Coordinates [(R + N), 2] of registers and all patches of a whole image. */
export function wholeImageCoordinates(s: ModelSizes): Float32Array {
  const out = new Float32Array((s.registers + s.patches) * 2);
  out.set(unitRegisterCoordinates(s.registers, s.registerCoordinates));
  out.set(patchCoordinates(s.gridHeight, s.gridWidth), s.registers * 2);
  return out;
}

export interface MaskInputs {
  /** [V, B]: row of each visible patch in the position-major patch tensor [N * B, ...]. */
  visible_rows: Int32Array;
  /** [P, B]: row of each predicted patch. */
  predict_rows: Int32Array;
  /** [(R + V), B, 2]: registers on the box around the visible patches, then the visible patches. */
  context_coords: Float32Array;
  /** [P, B, 2]. */
  predict_coords: Float32Array;
}

/** Turns mask indices into the flattened [B * N] axis (visible [B * V], predict [B * P]) into program inputs. */
export function maskInputs(
  s: ModelSizes,
  batch: number,
  visible: Int32Array,
  predict: Int32Array,
): MaskInputs {
  const coords = patchCoordinates(s.gridHeight, s.gridWidth);
  const unit = unitRegisterCoordinates(s.registers, s.registerCoordinates);
  const [v, p, r] = [visible.length / batch, predict.length / batch, s.registers];
  const out: MaskInputs = {
    visible_rows: new Int32Array(v * batch),
    predict_rows: new Int32Array(p * batch),
    context_coords: new Float32Array((r + v) * batch * 2),
    predict_coords: new Float32Array(p * batch * 2),
  };
  for (let b = 0; b < batch; b++) {
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (let i = 0; i < v; i++) {
      const position = visible[b * v + i]! - b * s.patches;
      out.visible_rows[i * batch + b] = position * batch + b;
      for (let axis = 0; axis < 2; axis++) {
        const c = coords[2 * position + axis]!;
        out.context_coords[2 * ((r + i) * batch + b) + axis] = c;
        low[axis] = Math.min(low[axis]!, c);
        high[axis] = Math.max(high[axis]!, c);
      }
    }
    for (let i = 0; i < r; i++) {
      for (let axis = 0; axis < 2; axis++) {
        out.context_coords[2 * (i * batch + b) + axis] =
          low[axis]! + unit[2 * i + axis]! * (high[axis]! - low[axis]!);
      }
    }
    for (let i = 0; i < p; i++) {
      const position = predict[b * p + i]! - b * s.patches;
      out.predict_rows[i * batch + b] = position * batch + b;
      for (let axis = 0; axis < 2; axis++) {
        out.predict_coords[2 * (i * batch + b) + axis] = coords[2 * position + axis]!;
      }
    }
  }
  return out;
}
