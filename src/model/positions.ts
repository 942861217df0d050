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

/** The same for a model; learned positions read no coordinates, so that any count of registers does. */
const ownRegisterCoordinates = (s: ModelSizes): Float64Array =>
  unitRegisterCoordinates(s.registers, s.positions === 'learned' ? 'zeros' : s.registerCoordinates);

/** Coordinates [(R + N), 2] of registers and all patches of a whole image. */
export function wholeImageCoordinates(s: ModelSizes): Float32Array {
  const out = new Float32Array((s.registers + s.patches) * 2);
  out.set(ownRegisterCoordinates(s));
  out.set(patchCoordinates(s.gridHeight, s.gridWidth), s.registers * 2);
  return out;
}

/**
 * Weights [(rows * columns), N] that read a learned position table [N, D] of the training grid at the patches of grid `s`: bilinear between
 * cells, first and last patch of an axis on the first and last cell (as patchCoordinates has them). The identity on the training grid.
 */
export function tableWeights(s: ModelSizes): Float32Array {
  const cells = s.tableHeight * s.tableWidth;
  const out = new Float32Array(s.patches * cells);
  const between = (i: number, n: number, of: number): { low: number; share: number } => {
    const at = n > 1 ? (i * (of - 1)) / (n - 1) : (of - 1) / 2;
    const low = Math.min(Math.floor(at), Math.max(0, of - 2));
    return { low, share: at - low };
  };
  for (let i = 0; i < s.patches; i++) {
    const row = between(Math.floor(i / s.gridWidth), s.gridHeight, s.tableHeight);
    const column = between(i % s.gridWidth, s.gridWidth, s.tableWidth);
    for (const [dr, wr] of [1 - row.share, row.share].entries()) {
      for (const [dc, wc] of [1 - column.share, column.share].entries()) {
        if (wr * wc > 0) out[i * cells + (row.low + dr) * s.tableWidth + column.low + dc] = wr * wc;
      }
    }
  }
  return out;
}

export interface MaskInputs {
  /** [V, B]: row of each visible patch in the position-major patch tensor [N * B, ...]. */
  visible_rows: Int32Array;
  /** [P, B]: row of each predicted patch. */
  predict_rows: Int32Array;
  /** [(R + V), B, 2]: registers on the box around the visible patches, then the visible patches. */
  context_coords: Float32Array;
  /** [M, B, 2] of the mask tokens: the predicted patches, or all masked ones of a fused model, the predicted first. */
  predict_coords: Float32Array;
  /** [V, B] and [M, B]: place in the grid of each of them. */
  visible_cells: Int32Array;
  predict_cells: Int32Array;
}

/** The predicted patches of every image, then its other masked ones: [B * M]. */
function allMasked(patches: number, batch: number, visible: Int32Array, predict: Int32Array): Int32Array {
  const [v, p] = [visible.length / batch, predict.length / batch];
  const known = new Set<number>([...visible, ...predict]);
  const out = new Int32Array(batch * (patches - v));
  for (let b = 0, o = 0; b < batch; b++) {
    for (let i = 0; i < p; i++) out[o++] = predict[b * p + i]!;
    for (let n = b * patches; n < (b + 1) * patches; n++) if (!known.has(n)) out[o++] = n;
  }
  return out;
}

/** Which of the mask inputs the step of a model reads: coordinates for rotary positions, cells for learned ones. */
export function readMaskInputs(s: Pick<ModelSizes, 'positions'>): (keyof MaskInputs)[] {
  return s.positions === 'rope'
    ? ['visible_rows', 'predict_rows', 'context_coords', 'predict_coords']
    : ['visible_rows', 'predict_rows', 'visible_cells', 'predict_cells'];
}

/** Turns mask indices into the flattened [B * N] axis (visible [B * V], predict [B * P]) into program inputs. */
export function maskInputs(
  s: ModelSizes,
  batch: number,
  visible: Int32Array,
  predict: Int32Array,
): MaskInputs {
  const coords = patchCoordinates(s.gridHeight, s.gridWidth);
  const unit = ownRegisterCoordinates(s);
  const [v, p, r] = [visible.length / batch, predict.length / batch, s.registers];
  const tokens = s.predictor === 'fused' ? allMasked(s.patches, batch, visible, predict) : predict;
  const m = tokens.length / batch;
  const out: MaskInputs = {
    visible_rows: new Int32Array(v * batch),
    predict_rows: new Int32Array(p * batch),
    context_coords: new Float32Array((r + v) * batch * 2),
    predict_coords: new Float32Array(m * batch * 2),
    visible_cells: new Int32Array(v * batch),
    predict_cells: new Int32Array(m * batch),
  };
  for (let b = 0; b < batch; b++) {
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (let i = 0; i < v; i++) {
      const position = visible[b * v + i]! - b * s.patches;
      out.visible_rows[i * batch + b] = position * batch + b;
      out.visible_cells[i * batch + b] = position;
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
    for (let i = 0; i < m; i++) {
      const position = tokens[b * m + i]! - b * s.patches;
      if (i < p) out.predict_rows[i * batch + b] = position * batch + b;
      out.predict_cells[i * batch + b] = position;
      for (let axis = 0; axis < 2; axis++) {
        out.predict_coords[2 * (i * batch + b) + axis] = coords[2 * position + axis]!;
      }
    }
  }
  return out;
}
