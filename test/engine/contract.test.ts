// What program.ts promises of an engine, on every engine: state, inputs, outputs, steps that are refused, errors.

import { expect, it } from 'vitest';
import type { Program } from '../../src/engine/program.js';
import { tf } from '../../src/tensor/tf.js';
import { onEveryDevice } from '../support/engines.js';

const f32 = (...values: number[]): Float32Array => Float32Array.of(...values);
const vector = { shape: [3], dtype: 'float32' as const };

/** Adds `by` to the state `total`; `fixed` is a state that no output follows. */
const counter: Program = {
  name: 'counter',
  inputs: { total: vector, fixed: vector, by: vector },
  state: ['total', 'fixed'],
  run: ({ total, fixed, by }) => {
    const next = tf.add(total!, tf.mul(by!, fixed!));
    return { total: next, seen: total!, again: next, twice: tf.mul(next, 2) };
  },
};
const start = { total: f32(1, 2, 3), fixed: f32(1, 10, 100) };
const by = f32(1, 1, 1);

onEveryDevice('an engine', (engine) => {
  it('carries the state from run to run', async () => {
    const counted = await (await engine.open()).load(counter);
    counted.setState(start);
    const first = await counted.run({ by });
    expect(first.seen).toEqual(f32(1, 2, 3));
    expect(first.again).toEqual(f32(2, 12, 103));
    expect(first.twice).toEqual(f32(4, 24, 206));
    expect(Object.keys(first).sort()).toEqual(['again', 'seen', 'twice']); // the state stays inside
    expect((await counted.run({ by })).seen).toEqual(f32(2, 12, 103));
    expect(await counted.getState()).toEqual({ total: f32(3, 22, 203), fixed: start.fixed });
    expect(await counted.getState(['fixed'])).toEqual({ fixed: start.fixed });
    await counted.dispose();
  });

  it('forgets a step that is not accepted', async () => {
    const counted = await (await engine.open()).load(counter);
    counted.setState(start);
    const refused = await counted.run({ by }, (outputs) => outputs.again![0]! !== 2);
    expect(refused.again).toEqual(f32(2, 12, 103));
    expect((await counted.getState()).total).toEqual(start.total);
    await counted.run({ by });
    expect((await counted.getState()).total).toEqual(f32(2, 12, 103));
    await counted.dispose();
  });

  it('copies what goes in and what comes out', async () => {
    const counted = await (await engine.open()).load(counter);
    const mine = { total: f32(1, 2, 3), fixed: f32(1, 1, 1) };
    counted.setState(mine);
    mine.total.fill(9);
    const taken = await counted.getState();
    expect(taken.total).toEqual(f32(1, 2, 3));
    taken.total!.fill(7);
    const first = await counted.run({ by });
    first.again!.fill(5);
    const [again, state] = [first.again, await counted.getState()];
    await counted.run({ by });
    expect(again).toEqual(f32(5, 5, 5));
    expect(state.total).toEqual(f32(2, 3, 4));
    await counted.dispose();
  });

  it('sets one state and leaves the others', async () => {
    const counted = await (await engine.open()).load(counter);
    counted.setState(start);
    await counted.run({ by });
    counted.setState({ fixed: f32(0, 0, 0) });
    expect((await counted.run({ by })).again).toEqual(f32(2, 12, 103));
    await counted.dispose();
  });

  it('keeps runs apart that go on at once, and ends them before it is disposed of', async () => {
    const scaled = await (await engine.open()).load(
      {
        name: 'scaled',
        inputs: { by: vector, x: vector },
        state: ['by'],
        streams: 2,
        run: ({ by, x }) => ({ y: tf.mul(by!, x!) }),
      },
      { by: f32(1, 10, 100) },
    );
    const runs = [1, 2, 3, 4, 5].map((n) => scaled.run({ x: f32(n, n, n) }));
    await scaled.dispose();
    const values = (await Promise.all(runs)).map(({ y }) => [...y!]);
    expect(values).toEqual([1, 2, 3, 4, 5].map((n) => [n, 10 * n, 100 * n]));
  });

  it('reads bytes, whole numbers, scalars and empty shapes as they are', async () => {
    const executable = await (await engine.open()).load({
      name: 'types',
      inputs: {
        bytes: { shape: [2, 2], dtype: 'uint8' },
        rows: { shape: [3], dtype: 'int32' },
        scale: { shape: [], dtype: 'float32' },
      },
      state: [],
      run: ({ bytes, rows, scale }) => ({
        taken: tf.mul(tf.gather(bytes!, rows as never), scale!),
        rows: tf.add(rows!, rows!),
        scale: scale!,
        constant: tf.tensor1d([1, 2]),
      }),
    });
    const out = await executable.run({
      bytes: Uint8Array.of(0, 127, 128, 255),
      rows: Int32Array.of(1, 0, 1),
      scale: f32(0.5),
    });
    expect(out.taken).toEqual(f32(64, 127.5, 0, 63.5, 64, 127.5));
    expect(out.rows).toEqual(Int32Array.of(2, 0, 2));
    expect(out.scale).toEqual(f32(0.5));
    expect(out.constant).toEqual(f32(1, 2));
    await executable.dispose();
  });

  it('runs two programs in turns', async () => {
    const opened = await engine.open();
    const [a, b] = [await opened.load(counter), await opened.load(counter)];
    a.setState(start);
    b.setState({ total: f32(0, 0, 0), fixed: f32(1, 1, 1) });
    await a.run({ by });
    await b.run({ by });
    await a.run({ by });
    expect((await a.getState()).total).toEqual(f32(3, 22, 203));
    expect((await b.getState()).total).toEqual(f32(1, 1, 1));
    await a.dispose();
    expect((await b.run({ by })).again).toEqual(f32(2, 2, 2));
    await b.dispose();
  });

  it('names what is missing or does not fit', async () => {
    const counted = await (await engine.open()).load(counter);
    await expect(counted.run({ by })).rejects.toThrow('program counter: state total was never set');
    expect(() => counted.setState({ totals: by })).toThrow('program counter has no state named totals');
    expect(() => counted.setState({ total: f32(1) })).toThrow(
      'program counter: total holds 1 values, expected 3 for shape [3]',
    );
    counted.setState(start);
    await expect(counted.run({})).rejects.toThrow('program counter needs input by');
    await expect(counted.run({ by: f32(1, 2, 3, 4) })).rejects.toThrow(
      'program counter: by holds 4 values, expected 3 for shape [3]',
    );
    expect((await counted.run({ by })).again).toEqual(f32(2, 12, 103)); // and goes on
    await counted.dispose();
  });

  it('keeps no tensor that it does not need', async () => {
    const counted = await (await engine.open()).load(counter);
    counted.setState(start);
    await counted.run({ by });
    const before = tf.memory().numTensors;
    for (let i = 0; i < 5; i++) await counted.run({ by }, () => i % 2 === 0);
    expect(tf.memory().numTensors).toBe(before);
    await counted.dispose();
  });
});
