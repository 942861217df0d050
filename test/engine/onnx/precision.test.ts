// Mixed precision: products in bfloat16 are those of rounded factors, rounded; nothing else is rounded; and a training step stays near the one in float32.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { checkFallback } from '../../../src/engine/onnx/fallback/check.js';
import { loweringsFor } from '../../../src/engine/onnx/precision.js';
import type { Outputs, Program } from '../../../src/engine/program.js';
import { referenceEngine } from '../../../src/engine/reference.js';
import { EngineError } from '../../../src/errors.js';
import { loweredModel, providerKernels } from '../../../src/inspect/fallback.js';
import { FIRST_MOMENT, SECOND_MOMENT } from '../../../src/model/parameters.js';
import { product } from '../../../src/tensor/ops/index.js';
import { type NamedTensorMap, tf } from '../../../src/tensor/tf.js';
import { cuda, engines, onEveryEngine } from '../../support/engines.js';
import { relativeError } from '../../support/golden.js';
import { stepCase, type Variant, variants } from '../configs.js';

/** To the nearest bfloat16, ties to even. */
function rounded(values: Float32Array): Float32Array {
  const bits = Uint32Array.from(new Uint32Array(values.slice().buffer), (u) => {
    return ((u + 0x7fff + ((u >>> 16) & 1)) & 0xffff0000) >>> 0;
  });
  return new Float32Array(bits.buffer);
}

function cosine(a: number[], b: number[]): number {
  const dot = (x: number[], y: number[]): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

const random = stream(0, 'precision');
const normal = (n: number) => random.fillNormal(new Float32Array(n), 1);
const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });
const program = (inputs: Program['inputs'], run: (i: NamedTensorMap) => NamedTensorMap): Program => ({
  name: 'products',
  inputs,
  state: [],
  products: 'bfloat16',
  run,
});

const onnx = [...engines.filter(({ name }) => name === 'onnx'), cuda];
const inBfloat16 = (v: Variant): Variant => ({
  ...v,
  config: { ...v.config, precision: { products: 'bfloat16' } },
});
const named = (name: string): Variant => variants.find((v) => v.name === name)!;

onEveryEngine(
  'products in bfloat16',
  (engine) => {
    const run = async (p: Program, inputs: Record<string, Float32Array>): Promise<Outputs> => {
      const executable = await (await engine.open()).load(p);
      const outputs = await executable.run(inputs);
      await executable.dispose();
      return outputs;
    };

    it('are those of rounded factors, rounded, and an addend is not', async () => {
      const [m, k, n] = [8, 12, 16];
      const [a, b, c] = [normal(m * k), normal(k * n), normal(m * n)];
      const both = program({ a: float(m, k), b: float(k, n), c: float(m, n) }, ({ a, b, c }) => {
        const y = product(a!, b!);
        return { y, sum: tf.add(tf.matMul(tf.neg(a!) as never, b as never), c!) };
      });
      const { y, sum } = await run(both, { a, b, c });
      const [ra, rb] = [rounded(a), rounded(b)];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let exact = 0;
          for (let p = 0; p < k; p++) exact += ra[i * k + p]! * rb[p * n + j]!;
          const at = i * n + j;
          // Half of the last of 8 bits, and the rounding of the sum in float32.
          expect(Math.abs(y![at]! - exact)).toBeLessThanOrEqual(2 ** -8 * Math.abs(exact) * 1.01 + 1e-6);
          expect(sum![at]!).toBeCloseTo(Math.fround(c[at]! - y![at]!), 6);
        }
      }
      expect(y).toEqual(rounded(y as Float32Array));
      expect(sum).not.toEqual(rounded(sum as Float32Array));
    });

    it('leave sums and what is no product alone', async () => {
      const [m, k] = [8, 12];
      const x = normal(m * k);
      const sums = program({ x: float(m, k) }, ({ x }) => ({
        rows: product(x!, tf.ones([k, 1])),
        columns: tf.sum(x!, 0),
        scaled: tf.mul(x!, 3),
      }));
      const got = await run(sums, { x });
      const want = await (await referenceEngine().load({ ...sums, products: undefined } as never)).run({ x });
      for (const name of ['rows', 'columns', 'scaled']) {
        expect(relativeError(got[name]!, want[name]!), name).toBeLessThan(1e-6);
      }
    });

    it.each([
      'the defaults',
      'micro-batches',
      'drop path',
      'a fused predictor, in micro-batches',
      'the iBOT loss',
    ])('keep a training step near that in float32: %s', async (name) => {
      const [exact, near] = [stepCase(named(name)), stepCase(inBfloat16(named(name)))];
      const after = async (c: typeof exact) => {
        const executable = await (await engine.open()).load(c.program);
        executable.setState(c.state);
        const outputs = await executable.run(c.inputs(7));
        const state = await executable.getState();
        await executable.dispose();
        return { outputs, state };
      };
      const [want, got] = [await after(exact), await after(near)];
      expect(got.outputs.capi_loss![0]).not.toBe(want.outputs.capi_loss![0]);
      const losses = Object.keys(want.outputs).filter((n) => n.endsWith('_loss') || n === 'target_entropy');
      const worst = Math.max(...losses.map((n) => relativeError(got.outputs[n]!, want.outputs[n]!)));
      const moved = relativeError(got.outputs.gradient_norm!, want.outputs.gradient_norm!);
      const [first, second] = [FIRST_MOMENT, SECOND_MOMENT];
      const values = exact.program.state.filter((n) => !n.endsWith(first) && !n.endsWith(second));
      const state = Math.max(...values.map((n) => relativeError(got.state[n]!, want.state[n]!)));
      // What the first moments gained is the gradient, but for a factor.
      const gained = ({ state }: typeof got) =>
        exact.program.state
          .filter((n) => n.endsWith(first))
          .flatMap((n) => Array.from(state[n]!, (v, i) => v - 0.9 * exact.state[n]![i]!));
      const alike = cosine(gained(got), gained(want));
      console.log(
        `bfloat16 against float32 on ${engine.name}, ${name}: losses ${worst.toExponential(1)}, gradient norm ${moved.toExponential(1)}, ` +
          `cosine of the gradients ${alike.toFixed(4)}, parameters after the step ${state.toExponential(1)}`,
      );
      expect(worst).toBeLessThan(2e-2);
      expect(moved).toBeLessThan(5e-2);
      expect(alike).toBeGreaterThan(0.98);
      expect(state).toBeLessThan(1e-2);
    });
  },
  onnx,
);

describe('mixed precision', () => {
  const { program } = stepCase(inBfloat16(named('the defaults')));

  it('is refused where there is none, with what to do', async () => {
    expect(() => loweringsFor(program, 'webgpu')).toThrow(EngineError);
    expect(() => loweringsFor(program, 'webgpu')).toThrow('WebGPU has no bfloat16. Take --device cuda');
    const refused = referenceEngine().load(program);
    await expect(refused).rejects.toThrow('the reference engine has no products in bfloat16');
  });

  it('leaves no node of the step to the CPU on CUDA', () => {
    const model = loweredModel(program);
    expect(model.nodes.some((n) => n.op === 'Cast' && n.ints.to === 16)).toBe(true);
    const { fallen, unknown } = checkFallback(model, providerKernels('cuda'));
    expect(fallen).toEqual([]);
    expect(unknown).toBe(0);
  });
});
