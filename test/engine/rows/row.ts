// What a conformance row is, and how one is checked on an engine: forward against a float64 oracle, backward against its central differences.

import { expect } from 'vitest';
import { type Random, stream } from '../../../src/base/random.js';
import type { Engine, Program, TensorSpec, Values } from '../../../src/engine/program.js';
import { type NamedTensorMap, type Tensor, tf } from '../../../src/tensor/tf.js';
import { relativeError } from '../../support/golden.js';
import { map, type Nd, nd } from '../float64.js';

/** An input tensor and how its values are drawn. */
export interface Drawn extends TensorSpec {
  draw(random: Random): number;
}

export const normal = (...shape: number[]): Drawn => ({ shape, dtype: 'float32', draw: (r) => r.normal() });
/** From 0.5 to 2: away from the places where log, root and quotient turn small errors into large ones. */
export const positive = (...shape: number[]): Drawn => ({
  shape,
  dtype: 'float32',
  draw: (r) => r.uniform(0.5, 2),
});
export const indices = (below: number, ...shape: number[]): Drawn => ({
  shape,
  dtype: 'int32',
  draw: (r) => r.int(below),
});

export interface Row {
  /** The kernel or composite op, and with more than one row for it, which case. */
  name: string;
  inputs: Record<string, Drawn>;
  run(i: NamedTensorMap): Tensor | Tensor[];
  /** The same in float64. */
  oracle(i: Record<string, Nd>): Nd | Nd[];
  /** Float inputs that are differentiated; default: all of them. */
  wrt?: string[];
  /** Largest error relative to the largest magnitude; default FORWARD. */
  tolerance?: number;
}

/** A few float32 roundings (6e-8 each) of the operands; sums here have at most some tens of terms. */
export const FORWARD = 1e-6;
/** Gradients pass through two or three times as many operations; central differences in float64 are good to 1e-9. */
export const BACKWARD = 3e-6;

const list = <T>(x: T | T[]): T[] => (Array.isArray(x) ? x : [x]);
const wrtOf = (row: Row): string[] =>
  row.wrt ?? Object.keys(row.inputs).filter((n) => row.inputs[n]!.dtype === 'float32');

/** Values of the inputs, the same on every engine. */
export function drawInputs(row: Row): Record<string, Values> {
  return Object.fromEntries(
    Object.entries(row.inputs).map(([name, spec]) => {
      const random = stream(1, row.name, name);
      const count = spec.shape.reduce((a, b) => a * b, 1);
      const values = Array.from({ length: count }, () => spec.draw(random));
      return [name, spec.dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values)];
    }),
  );
}

/** Weights of output number `n`: its weighted sum is what the gradient is taken of. */
function weightsOf(row: Row, n: number, shape: number[]): Float32Array {
  const random = stream(2, row.name, n);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
}

/** Outputs `y0`, `y1`, ... and the gradients `d.NAME` of their weighted sum. */
export function rowProgram(row: Row): Program {
  const wrt = wrtOf(row);
  return {
    name: `row_${row.name}`,
    inputs: Object.fromEntries(
      Object.entries(row.inputs).map(([n, { shape, dtype }]) => [n, { shape, dtype }]),
    ),
    state: [],
    run: (i) => {
      const outputs = list(row.run(i));
      const out: NamedTensorMap = Object.fromEntries(outputs.map((y, n) => [`y${n}`, y]));
      if (wrt.length === 0) return out;
      const weighted = (...values: Tensor[]): Tensor => {
        const own = list(row.run({ ...i, ...Object.fromEntries(wrt.map((n, j) => [n, values[j]!])) }));
        const terms = own.map((y, n) => tf.sum(tf.mul(y, tf.tensor(weightsOf(row, n, y.shape), y.shape))));
        return terms.reduce((a, b) => tf.add(a, b));
      };
      const gradients = tf.grads(weighted as never)(wrt.map((n) => i[n]!) as never[]);
      for (const [j, n] of wrt.entries()) out[`d.${n}`] = gradients[j]!;
      return out;
    },
  };
}

/** Gradient of the oracle's weighted sum by central differences. */
function numericalGradient(row: Row, inputs: Record<string, Nd>, name: string): Float64Array {
  const x = inputs[name]!;
  const weights: Float32Array[] = [];
  const weighted = (): number => {
    let total = 0;
    for (const [n, y] of list(row.oracle(inputs)).entries()) {
      weights[n] ??= weightsOf(row, n, y.shape);
      for (let i = 0; i < y.data.length; i++) total += y.data[i]! * weights[n]![i]!;
    }
    return total;
  };
  const h = 1e-5;
  return x.data.map((value, i) => {
    x.data[i] = value + h;
    const above = weighted();
    x.data[i] = value - h;
    const below = weighted();
    x.data[i] = value;
    return (above - below) / (2 * h);
  });
}

/** Runs the row on an engine and compares; returns the errors. */
export async function checkRow(row: Row, engine: Engine): Promise<{ forward: number; backward: number }> {
  const feeds = drawInputs(row);
  const executable = await engine.load(rowProgram(row));
  const out = await executable.run(feeds);
  await executable.dispose();
  const exact = Object.fromEntries(Object.entries(feeds).map(([n, v]) => [n, nd(row.inputs[n]!.shape, v)]));
  let [forward, backward] = [0, 0];
  for (const [n, y] of list(row.oracle(exact)).entries()) {
    forward = Math.max(forward, relativeError(out[`y${n}`]!, y.data));
  }
  for (const name of wrtOf(row)) {
    backward = Math.max(backward, relativeError(out[`d.${name}`]!, numericalGradient(row, exact, name)));
  }
  expect(forward, `${row.name} forward`).toBeLessThanOrEqual(row.tolerance ?? FORWARD);
  expect(backward, `${row.name} backward`).toBeLessThanOrEqual(Math.max(row.tolerance ?? 0, BACKWARD));
  return { forward, backward };
}

/** A row of a kernel that copies: no error is allowed. */
export const moved = (
  name: string,
  x: Drawn,
  run: (x: Tensor) => Tensor,
  oracle: (x: Nd) => Nd | Nd[],
  wrt?: string[],
): Row => ({
  name,
  inputs: { x },
  run: (i) => run(i.x!),
  oracle: (i) => oracle(i.x!),
  ...(wrt ? { wrt } : {}),
  tolerance: 0, // moves copy
});

/** A row of an element-wise kernel of one operand. */
export const unary = (
  kernel: string,
  run: (x: Tensor) => Tensor,
  f: (x: number) => number,
  row: Partial<Row> & { draw?: typeof normal } = {},
): Row => {
  const { draw = normal, ...rest } = row;
  return {
    name: kernel,
    inputs: { x: draw(3, 5) },
    run: (i) => run(i.x!),
    oracle: (i) => map(i.x!, f),
    ...rest,
  };
};
