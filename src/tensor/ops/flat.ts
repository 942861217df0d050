// Many tensors as one row, and back: what is done value by value is then done once for all of them.
import { type Tensor, tf } from '../tf.js';
import { primitive } from './primitive.js';

/** The values of all tensors one after another, [N]. Where the engine keeps them side by side in that order, nothing moves. Has no gradient. */
export function flat(tensors: readonly Tensor[]): Tensor {
  return primitive('Flat', { ...tensors } as never, {}, () => {
    const rows = tensors.map((t) => tf.reshape(t, [t.size]));
    return rows.length === 1 ? rows[0]! : tf.concat(rows as never);
  });
}

/** The reverse of `flat`: x [N] cut into tensors of these shapes. Has no gradient. */
export function unflat(x: Tensor, shapes: readonly number[][]): Tensor[] {
  return [
    primitive<Tensor | Tensor[]>('Unflat', { x }, { shapes }, () => {
      const rows = shapes.length === 1 ? [x] : tf.split(x, shapes.map(tf.util.sizeFromShape));
      return rows.map((row, i) => tf.reshape(row, shapes[i]!));
    }),
  ].flat();
}
