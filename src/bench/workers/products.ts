// Our contender that times single matrix products, with the session settings of every other program.
import type { Program } from '../../engine/program.js';
import { openEngine } from '../../engine/select.js';
import { product } from '../../tensor/ops/index.js';
import { type Tensor, tf } from '../../tensor/tf.js';
import type { ProductRequest } from '../products.js';
import { type Prepare, timed } from './handlers.js';

/** A program of `repeat` equal products in a row. Their scales differ, so that no pass takes them for one. */
function productProgram({ a, b, flags, repeat }: ProductRequest): Program {
  const corner = (t: Tensor): Tensor => {
    const ones = t.shape.map(() => 1);
    return tf.reshape(
      tf.slice(
        t,
        ones.map(() => 0),
        ones,
      ),
      [1],
    );
  };
  return {
    name: 'product',
    inputs: { a: { shape: a, dtype: 'float32' }, b: { shape: b, dtype: 'float32' } },
    state: ['a', 'b'],
    // One number of each result: copying the whole out is not part of a product.
    run: ({ a, b }) => {
      const all = Array.from({ length: repeat }, (_, r) =>
        corner(product(a!, b!, { ...flags, alpha: 1 + r / 1024 })),
      );
      return { sum: all.length === 1 ? all[0]! : (tf.addN(all as never[]) as Tensor) };
    },
  };
}

export const prepare: Prepare = async ({ threads }: { threads: number }) => {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads });
  return {
    facts: { threads: engine.threads ?? 1, versions: { onnx: engine.version } },
    handlers: {
      product: async (request: ProductRequest) => {
        const program = productProgram(request);
        const executable = await engine.load(program);
        const values = (shape: number[]) =>
          new Float32Array(shape.reduce((x, y) => x * y, 1)).map((_, i) => ((i * 7919) % 97) / 97 - 0.5);
        executable.setState({ a: values(request.a), b: values(request.b) });
        const work = () => executable.run({});
        await work();
        const { ms } = await timed(work, request.times);
        await executable.dispose();
        return { ms: ms.map((t) => t / request.repeat) };
      },
    },
  };
};
