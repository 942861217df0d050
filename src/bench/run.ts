// The frame of every benchmark: contenders are closed whatever happens, the tables are printed, the record is written.
import { usableCores } from '../cores.js';
import type { ProductShape } from '../engine/onnx/product_shapes.js';
import { type Contender, type ContenderStart, pythonOf, startContender } from './contender.js';
import type { BenchFlags } from '../cli/bench_flags.js';
import { Products } from './products.js';
import { type BenchRecord, begin, type Comparison, recordOf, writeBenchRecord } from './record.js';
import { comparisonText } from '../cli/bench_table.js';
import { inFolder } from './workload.js';

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
  say(text: string): void;
}

/** What --json prints: the record and where it is. */
export type BenchResult = BenchRecord & { file: string };

export async function runBench(
  benchmark: string,
  flags: BenchFlags,
  body: (bench: Bench) => Promise<Comparison[]>,
): Promise<BenchResult> {
  const began = begin();
  const python = pythonOf(flags.pytorch);
  const rounds = flags.rounds ?? (flags.quick ? 2 : 5);
  const say = (text: string): void => void (flags.quiet || process.stderr.write(`${text}\n`));
  if (!python) say('no python: capi alone is timed (--pytorch PYTHON gives it rivals)');
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
        quick: flags.quick,
        rounds,
        python,
        folder,
        say,
        closeAll,
        start: async (start) => {
          const wanted = own ? threads() : (flags.threads ?? undefined);
          const c = keep(await startContender({ ...start, threads: start.threads ?? wanted ?? null }));
          own ??= c;
          return c;
        },
        products: async (steps) =>
          keep(await Products.start({ threads: threads(), python, quick: flags.quick }, steps)),
      }),
    );
    if (!python) for (const c of comparisons) c.notes.push('no python was given: only capi was timed');
    const record = recordOf({
      benchmark,
      quick: flags.quick,
      rounds,
      own: own ?? { facts: { threads: flags.threads ?? usableCores(), versions: {} } },
      began,
      comparisons,
    });
    const file = await writeBenchRecord(flags.out, record);
    if (!flags.quiet) {
      for (const c of comparisons) process.stdout.write(`${comparisonText(c)}\n`);
      process.stdout.write(`record     ${file}\n`);
    }
    return { ...record, file };
  } finally {
    await closeAll();
  }
}
