// The frame of every benchmark: contenders are closed whatever happens, and the record is written.
import { usableCores } from '../cores.js';
import type { ProductShape } from '../engine/graph/product_shapes.js';
import { type Contender, type ContenderStart, pythonOf, startContender } from './contender.js';
import { Products } from './products.js';
import { type BenchRecord, begin, type Comparison, recordOf, writeBenchRecord } from './record.js';
import { inFolder } from './workload.js';

/** What every benchmark is asked with. */
export interface BenchOptions {
  /** Alternating rounds: 5 without, 2 with `quick`. */
  rounds?: number | undefined;
  /** Threads of every contender. */
  threads?: number | undefined;
  /** The python beside us, or `none`; without: .venv/bin/python where there is one. */
  pytorch?: string | undefined;
  quick: boolean;
  /** Folder of records. */
  out: string;
  /** Progress, a line at a time. */
  log(text: string): void;
}

/** What a benchmark's body works with. */
export interface Bench {
  readonly quick: boolean;
  readonly rounds: number;
  /** The python beside us; undefined: only ours is timed. */
  readonly python: string | undefined;
  /** A folder that is removed afterwards. */
  readonly folder: string;
  /** Starts a contender that is closed with the benchmark. The first one is ours: it fixes the threads of all. */
  start(start: Omit<ContenderStart, 'threads'> & { threads?: number }): Promise<Contender>;
  /** Product rates, closed with the benchmark too. */
  products(steps?: ProductShape[]): Promise<Products>;
  /** Closes all that was started so far, such as before the next size. */
  closeAll(): Promise<void>;
  log(text: string): void;
}

/** The record and where it is. */
export type BenchResult = BenchRecord & { file: string };

export async function runBench(
  benchmark: string,
  options: BenchOptions,
  body: (bench: Bench) => Promise<Comparison[]>,
): Promise<BenchResult> {
  const began = begin();
  const python = pythonOf(options.pytorch);
  const rounds = options.rounds ?? (options.quick ? 2 : 5);
  if (!python) options.log('no python: capi alone is timed (--pytorch PYTHON gives it rivals)');
  const open: { close(): Promise<void> }[] = [];
  let own: Contender | undefined;
  const closeAll = async (): Promise<void> => {
    for (const c of open.splice(0).reverse()) await c.close();
  };
  const threads = (): number => own?.facts.threads ?? 1;
  const keep = <T extends { close(): Promise<void> }>(c: T): T => {
    open.push(c);
    return c;
  };
  try {
    const comparisons = await inFolder((folder) =>
      body({
        quick: options.quick,
        rounds,
        python,
        folder,
        log: options.log,
        closeAll,
        start: async (start) => {
          const wanted = own ? threads() : (options.threads ?? undefined);
          const c = keep(await startContender({ ...start, threads: start.threads ?? wanted ?? null }));
          own ??= c;
          return c;
        },
        products: async (steps) =>
          keep(await Products.start({ threads: threads(), python, quick: options.quick }, steps)),
      }),
    );
    if (!python) for (const c of comparisons) c.notes.push('no python was given: only capi was timed');
    const record = recordOf({
      benchmark,
      quick: options.quick,
      rounds,
      own: own ?? { facts: { threads: options.threads ?? usableCores(), versions: {} } },
      began,
      comparisons,
    });
    const file = await writeBenchRecord(options.out, record);
    return { ...record, file };
  } finally {
    await closeAll();
  }
}
