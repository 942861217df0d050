// Cuts garments out of Fashion-MNIST: a mask that follows the outline, and grey levels cleaned of the black around it.

/** Pixels darker than this and joined to the border lie outside of the garment. */
const OUTSIDE = 12;

/**
 * A garment on a grid with one empty cell around it: `alpha` says how much of a cell it covers (0..1) and `shade` its grey
 * level times alpha (0..1), so that both can be interpolated. Grids are [side, side].
 */
export interface Garment {
  side: number;
  alpha: Float32Array;
  shade: Float32Array;
}

/** Cuts out the garment of the grey picture [side, side] that starts at `offset` of `bytes`. */
export function cutGarment(bytes: Uint8Array, offset: number, side: number): Garment {
  const padded = side + 2;
  const grey = new Uint8Array(padded * padded);
  for (let y = 0; y < side; y++) {
    const from = offset + y * side;
    grey.set(bytes.subarray(from, from + side), (y + 1) * padded + 1);
  }
  const outside = floodOutside(grey, padded);
  const alpha = new Float32Array(padded * padded);
  const shade = new Float32Array(padded * padded);
  for (let i = 0; i < grey.length; i++) {
    if (outside[i] || isHole(grey, i, padded)) continue;
    const rim = outside[i - 1] || outside[i + 1] || outside[i - padded] || outside[i + padded];
    let level = grey[i]!;
    if (rim) {
      // The outline is mixed with black: take the cloth's level from inside and the mixture as coverage.
      const inner = Math.max(level, grey[i - 1]!, grey[i + 1]!, grey[i - padded]!, grey[i + padded]!);
      alpha[i] = Math.max(0.25, level / inner);
      level = inner;
    } else {
      alpha[i] = 1;
    }
    shade[i] = (alpha[i]! * level) / 255;
  }
  return { side: padded, alpha, shade };
}

/** Black spots inside show what is behind (between straps, under a handle) when they are two cells thick; thinner ones are print. */
function isHole(grey: Uint8Array, i: number, side: number): boolean {
  if (grey[i] !== 0) return false;
  for (const dy of [-side, side]) {
    for (const dx of [-1, 1])
      if (grey[i + dx] === 0 && grey[i + dy] === 0 && grey[i + dy + dx] === 0) return true;
  }
  return false;
}

/** 1 where a cell is dark and joined to the border through dark cells. */
function floodOutside(grey: Uint8Array, side: number): Uint8Array {
  const outside = new Uint8Array(grey.length);
  const stack = new Int32Array(grey.length);
  let height = 0;
  const visit = (cell: number): void => {
    if (outside[cell] || grey[cell]! > OUTSIDE) return;
    outside[cell] = 1;
    stack[height++] = cell;
  };
  visit(0); // the empty frame is dark all round
  while (height > 0) {
    const cell = stack[--height]!;
    const x = cell % side;
    if (x > 0) visit(cell - 1);
    if (x < side - 1) visit(cell + 1);
    if (cell >= side) visit(cell - side);
    if (cell + side < grey.length) visit(cell + side);
  }
  return outside;
}

/** The garment at half resolution, so that it can be drawn small without breaking up. */
export function halveGarment(garment: Garment): Garment {
  const side = Math.floor(garment.side / 2) + 2;
  const alpha = new Float32Array(side * side);
  const shade = new Float32Array(side * side);
  for (let y = 0; y + 1 < garment.side; y += 2) {
    for (let x = 0; x + 1 < garment.side; x += 2) {
      const from = y * garment.side + x;
      const to = (y / 2 + 1) * side + x / 2 + 1;
      for (const step of [0, 1, garment.side, garment.side + 1]) {
        alpha[to] = alpha[to]! + garment.alpha[from + step]! / 4;
        shade[to] = shade[to]! + garment.shade[from + step]! / 4;
      }
    }
  }
  return { side, alpha, shade };
}
