// The rate of the machine's matrix products, in both libraries: the square one, and every shape of a training step.
import type { ProductShape } from '../engine/graph/product_shapes.js';
import { productFlopOf } from '../engine/graph/product_shapes.js';
import { type Contender, ourCommand, PYTHON_FIX, pythonCommand, startContender } from './contender.js';
import type { GemmRate, ShapeRow, StepBound } from './record.js';
import { median, rounded } from './statistics.js';

export interface ProductRequest {
  a: number[];
  b: number[];
  flags: { transA: boolean; transB: boolean; batchA: boolean; batchB: boolean };
  /** Products in a row of one measurement, and measurements. */
  repeat: number;
  times: number;
}

/** Products in a row until a measurement takes about this long, at a rate that this machine may reach. */
const MEASURE_MS = 20;
const GUESSED_GFLOPS = 100;
const GUESSED_GBYTES = 8;
const MOST_REPEATS = 256;

function requestOf(p: ProductShape, quick: boolean): ProductRequest {
  const { a, b, transA, transB, batchA, batchB } = p;
  const elements = (shape: number[]) => shape.reduce((x, y) => x * y, 1);
  const bytes = 4 * (elements(a) + elements(b) + p.batch * p.m * p.n);
  const guess = Math.max(productFlopOf(p) / GUESSED_GFLOPS, bytes / GUESSED_GBYTES) / 1e6;
  const repeat = Math.max(1, Math.min(MOST_REPEATS, Math.round(MEASURE_MS / guess)));
  return {
    a,
    b,
    flags: { transA, transB, batchA, batchB },
    repeat: quick ? 2 : repeat,
    times: quick ? 1 : 3,
  };
}

const square = (n: number): ProductShape => ({
  ...{ m: n, k: n, n, batch: 1, a: [n, n], b: [n, n], count: 1 },
  ...{ transA: false, transB: false, batchA: false, batchB: false },
});

/** Both libraries' products, timed once a round beside the contenders of a benchmark. */
export class Products {
  private readonly times: number[][][];
  private readonly shapes: ProductShape[];

  private constructor(
    private readonly contenders: Contender[],
    private readonly size: number,
    steps: ProductShape[],
    private readonly quick: boolean,
  ) {
    this.shapes = [square(size), ...steps];
    this.times = contenders.map(() => this.shapes.map(() => []));
  }

  /** @param steps the products of a step, if they are to be timed too */
  static async start(
    options: { threads: number; python: string | undefined; quick: boolean },
    steps: ProductShape[] = [],
  ): Promise<Products> {
    const { threads, python, quick } = options;
    const contenders = [
      await startContender({ name: 'capi products', command: ourCommand('products'), setup: {}, threads }),
    ];
    try {
      if (python) {
        const command = pythonCommand(python, 'products.py');
        contenders.push(
          await startContender({ name: 'PyTorch products', command, setup: {}, threads, fix: PYTHON_FIX }),
        );
      }
    } catch (error) {
      for (const c of contenders) await c.close();
      throw error;
    }
    return new Products(contenders, quick ? 256 : 2048, steps, quick);
  }

  /** Times every shape once in each library, one shape after another so that both see the same moment. */
  async round(): Promise<void> {
    for (const [i, shape] of this.shapes.entries()) {
      for (const [c, contender] of this.contenders.entries()) {
        const { ms } = await contender.ask<{ ms: number[] }>('product', { ...requestOf(shape, this.quick) });
        this.times[c]![i]!.push(rounded(median(ms)));
      }
    }
  }

  /** Whether the products of a step are timed too. */
  get hasSteps(): boolean {
    return this.shapes.length > 1;
  }

  async close(): Promise<void> {
    for (const c of this.contenders) await c.close();
  }

  private row(i: number): ShapeRow {
    const shape = this.shapes[i]!;
    const [own, pytorch] = this.times.map((byShape) => median(byShape[i]!));
    const rate = (ms: number) => rounded(productFlopOf(shape) / ms / 1e6);
    return {
      m: shape.m,
      k: shape.k,
      n: shape.n,
      batch: shape.batch,
      transposes: layoutOf(shape),
      count: shape.count,
      capi_ms: rounded(own!),
      capi_gflops: rate(own!),
      ...(pytorch === undefined ? {} : { pytorch_ms: rounded(pytorch), pytorch_gflops: rate(pytorch) }),
      best_ms: rounded(Math.min(own!, pytorch ?? Number.POSITIVE_INFINITY)),
    };
  }

  /** The rate of the square product: the machine's own is the better library's. */
  gemm(): GemmRate {
    const { capi_gflops, pytorch_gflops, best_ms } = this.row(0);
    const best = rounded((2 * this.size ** 3) / best_ms / 1e6);
    return {
      size: this.size,
      capi_gflops,
      ...(pytorch_gflops === undefined ? {} : { pytorch_gflops }),
      best_gflops: best,
    };
  }

  /** T*: the sum over the step's products of the better library's median time of each. */
  bound(stepMs: number): StepBound {
    const shapes = this.shapes.slice(1).map((_, i) => this.row(i + 1));
    const best = shapes.reduce((ms, s) => ms + s.count * s.best_ms, 0);
    const own = shapes.reduce((ms, s) => ms + s.count * s.capi_ms, 0);
    return {
      step_ms: stepMs,
      best_products_ms: rounded(best),
      own_products_ms: rounded(own),
      ratio: rounded(best / stepMs),
      shapes,
    };
  }
}

/** How the operands are stored: `A'` transposed, `A~` with the batch in the middle. */
function layoutOf({ transA, transB, batchA, batchB }: ProductShape): string {
  const mark = (name: string, batch: boolean, trans: boolean) =>
    name + (batch ? '~' : '') + (trans ? "'" : '');
  return `${mark('A', batchA, transA)} ${mark('B', batchB, transB)}`;
}
