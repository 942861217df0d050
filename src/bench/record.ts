// The record of one run of `capi bench`: what was timed beside what, on which machine, by which command. A file a run, never replaced.
import { join } from 'node:path';
import { z } from 'zod';
import { makeFolder, writeNew } from '../base/files/write.js';
import { environment } from '../results/environment.js';
import type { Contender } from './contender.js';
import { machine } from './machine.js';

const ms = z.number().nonnegative();
const range = z.tuple([z.number(), z.number()]);
const spread = z.object({ median: z.number(), range });

/** One contender's line of the table. */
export const rowSchema = z.object({
  name: z.string(),
  /** Library versions of its process. */
  versions: z.record(z.string(), z.string().nullable()),
  threads: z.int(),
  /** Milliseconds a unit of work: the median of each round. */
  rounds: z.array(ms),
  ms: spread,
  /** Processor milliseconds a unit of work, all threads together. */
  cpu_ms: z.number().nullable(),
  /** Its time over ours in the same round: above 1, ours is faster. null on our own line. */
  ratio: spread.extend({ rounds: z.array(z.number()) }).nullable(),
  /** Units of work a second, in the benchmark's own unit, such as images. */
  per_second: z.number().nullable(),
  gflops: z.number().nullable(),
  /** Of the machine's own GEMM rate. */
  share_of_gemm: z.number().nullable(),
  /** Largest resident memory of its process, and over that of PyTorch eager. */
  peak_mib: z.number().nullable(),
  peak_ratio: z.number().nullable(),
  note: z.string().optional(),
});
export type Row = z.infer<typeof rowSchema>;

const gemmSchema = z.object({
  /** Rows, columns and summed channels of the square product. */
  size: z.int(),
  capi_gflops: z.number(),
  pytorch_gflops: z.number().optional(),
  best_gflops: z.number(),
});
export type GemmRate = z.infer<typeof gemmSchema>;

const shapeSchema = z.object({
  m: z.int(),
  k: z.int(),
  n: z.int(),
  batch: z.int(),
  /** How the operands are stored: `A'` transposed, `A~` with the batch in the middle. */
  transposes: z.string(),
  count: z.int(),
  capi_ms: ms,
  capi_gflops: z.number(),
  pytorch_ms: ms.optional(),
  pytorch_gflops: z.number().optional(),
  best_ms: ms,
});
export type ShapeRow = z.infer<typeof shapeSchema>;

const boundSchema = z.object({
  /** T, our step. */
  step_ms: ms,
  /** T*: each product of the step at the median rate of the better library on that shape; and all at our library's. */
  best_products_ms: ms,
  own_products_ms: ms,
  /** T* / T. */
  ratio: z.number(),
  shapes: z.array(shapeSchema),
});
export type StepBound = z.infer<typeof boundSchema>;

/** How far the numbers of two sides are apart: the benchmark is refused above the tolerance. */
const agreementSchema = z.object({
  with: z.string(),
  what: z.string(),
  value: z.number(),
  /** The value may be at most (or, for shares, at least) this; null where it is reported only. */
  tolerance: z.number().nullable(),
});
export type Agreement = z.infer<typeof agreementSchema>;

/** One table: a piece of work, and who did it. */
export const comparisonSchema = z.object({
  /** What one unit of work is, and the sizes that decide it. */
  work: z.string(),
  sizes: z.record(z.string(), z.union([z.number(), z.string()])),
  rows: z.array(rowSchema),
  /** The fastest of the named rivals in each round over ours. */
  best_rival: spread.extend({ of: z.array(z.string()), rounds: z.array(z.number()) }).nullable(),
  gflop: z.number().nullable(),
  gemm: gemmSchema.nullable(),
  bound: boundSchema.optional(),
  agreement: z.array(agreementSchema),
  notes: z.array(z.string()),
});
export type Comparison = z.infer<typeof comparisonSchema>;

export const benchRecordSchema = z.object({
  schema: z.literal(1),
  benchmark: z.string(),
  created: z.string(),
  seconds: z.number(),
  quick: z.boolean(),
  rounds: z.int(),
  threads: z.int(),
  machine: z.record(z.string(), z.unknown()),
  environment: z.record(z.string(), z.unknown()),
  comparisons: z.array(comparisonSchema),
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;

/** What a run of a benchmark gathers before it is written. */
export interface BenchRun {
  benchmark: string;
  quick: boolean;
  rounds: number;
  /** Our contender, for engine and version. */
  own: Pick<Contender, 'facts'>;
  began: { machine: ReturnType<typeof machine>; at: number; created: string };
  comparisons: Comparison[];
}

/** To be called before anything is timed: the load of the machine is part of it. */
export const begin = (): BenchRun['began'] => ({
  machine: machine(),
  at: performance.now(),
  created: new Date().toISOString(),
});

export function recordOf(run: BenchRun): BenchRecord {
  const { facts } = run.own;
  const engine = String(facts.engine ?? 'onnx');
  return benchRecordSchema.parse({
    schema: 1,
    benchmark: run.benchmark,
    created: run.began.created,
    seconds: Number(((performance.now() - run.began.at) / 1000).toFixed(1)),
    quick: run.quick,
    rounds: run.rounds,
    threads: facts.threads,
    machine: run.began.machine,
    environment: environment({
      name: engine,
      device: String(facts.device ?? 'cpu'),
      threads: facts.threads,
      version: String(facts.versions[engine] ?? ''),
    }),
    comparisons: run.comparisons,
  });
}

/** Writes the record under a name that was free: BENCHMARK-TIME.json. Returns its path. @throws DataError */
export async function writeBenchRecord(folder: string, record: BenchRecord): Promise<string> {
  const time = record.created.slice(0, 19).replace(/:/g, '-');
  for (let n = 1; ; n++) {
    const file = join(folder, `${record.benchmark}-${time}${n === 1 ? '' : `-${n}`}.json`);
    await makeFolder(folder);
    if (await writeNew(file, `${JSON.stringify(record, null, 1)}\n`)) return file;
  }
}
