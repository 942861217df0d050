// Contenders in alternating rounds, and the table of what they took: the one place where times become medians and ratios.
import { EngineError } from '../errors.js';
import type { Contender, Timed } from './contender.js';
import type { Products } from './products.js';
import type { Agreement, Comparison, Row } from './record.js';
import { ratios, rounded, spread } from './statistics.js';

/** One who does the work, and how it is asked. */
export interface Entrant {
  name: string;
  contender: Contender;
  /** One round: times of one unit of work each. */
  run(): Promise<Timed>;
  note?: string;
}

export interface CompareOptions {
  work: string;
  sizes: Record<string, number | string>;
  rounds: number;
  /** The first entrant is ours. */
  entrants: Entrant[];
  /** Units of `per_second` in one unit of work, such as images of a step. */
  items?: number;
  /** Operations of one unit of work in matrix products, in 10^9. */
  gflop?: number;
  products?: Products;
  /** Names of the entrants that the best rival is chosen from in each round; default: all but ours. */
  rivals?: string[];
  /** Whose peak memory the others' are divided by. */
  memoryOf?: string;
  agreement?: Agreement[];
  notes?: string[];
  log(text: string): void;
}

/** Threads of a library that spin after their last product are asleep by then. */
const PAUSE_MS = 100;

/** Alternating rounds, every second one in reverse order. */
export async function compare(o: CompareOptions): Promise<Comparison> {
  const { entrants } = o;
  const times: number[][] = entrants.map(() => []);
  const processor: (number | null)[][] = entrants.map(() => []);
  for (let round = 0; round < o.rounds; round++) {
    const order = entrants.map((_, i) => i);
    for (const i of round % 2 ? order.reverse() : order) {
      await new Promise((done) => setTimeout(done, PAUSE_MS));
      const found = await entrants[i]!.run();
      times[i]!.push(rounded(found.median_ms));
      processor[i]!.push(found.cpu_ms === null ? null : found.cpu_ms / found.ms.length);
    }
    await o.products?.round();
    const shown = entrants.map((e, i) => `${e.name} ${duration(times[i]![round]!)}`);
    o.log(`round ${round + 1}/${o.rounds}: ${shown.join(', ')}`);
  }
  const gemm = o.products?.gemm() ?? null;
  const peaks = await Promise.all(entrants.map((e) => e.contender.peakBytes()));
  const reference = peaks[entrants.findIndex((e) => e.name === o.memoryOf)];
  const rows = entrants.map((e, i): Row => {
    const ms = spread(times[i]!);
    const peak = peaks[i]!;
    const rate = o.gflop === undefined ? null : rounded(o.gflop / (ms.median / 1000));
    const byRound = ratios(times[i]!, times[0]!);
    return {
      name: e.name,
      versions: e.contender.facts.versions,
      threads: e.contender.facts.threads,
      rounds: times[i]!,
      ms,
      cpu_ms: medianOf(processor[i]!),
      ratio: i === 0 ? null : { ...spread(byRound), rounds: byRound },
      per_second: o.items === undefined ? null : rounded((1000 * o.items) / ms.median),
      gflops: rate,
      share_of_gemm: rate === null || !gemm ? null : rounded(rate / gemm.best_gflops),
      peak_mib: peak === null ? null : rounded(peak / 2 ** 20),
      peak_ratio: peak === null || !reference ? null : rounded(peak / reference),
      ...(e.note ? { note: e.note } : {}),
    };
  });
  return {
    work: o.work,
    sizes: o.sizes,
    rows,
    best_rival: bestRival(rows, o.rivals),
    gflop: o.gflop ?? null,
    gemm,
    ...(o.products?.hasSteps ? { bound: o.products.bound(rows[0]!.ms.median) } : {}),
    agreement: o.agreement ?? [],
    notes: o.notes ?? [],
  };
}

/** null where a round has none. */
function medianOf(values: (number | null)[]): number | null {
  const known = values.filter((v) => v !== null);
  return known.length === values.length ? spread(known).median : null;
}

function bestRival(rows: Row[], names = rows.slice(1).map((r) => r.name)): Comparison['best_rival'] {
  const rivals = rows.filter((r) => names.includes(r.name));
  if (rivals.length === 0) return null;
  const fastest = rows[0]!.rounds.map((_, round) => Math.min(...rivals.map((r) => r.rounds[round]!)));
  const byRound = ratios(fastest, rows[0]!.rounds);
  return { of: rivals.map((r) => r.name), ...spread(byRound), rounds: byRound };
}

/** Milliseconds in the unit that reads best. */
export function duration(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  return `${ms.toPrecision(3)} ms`;
}

/** Largest difference of two lists, over the largest magnitude of the second. NaN is a difference. */
export function largestDifference(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
  if (ours.length !== theirs.length) return Number.POSITIVE_INFINITY;
  let [most, scale] = [0, 0];
  for (let i = 0; i < ours.length; i++) {
    const apart = Math.abs(ours[i]! - theirs[i]!);
    if (!(apart <= most)) most = apart;
    scale = Math.max(scale, Math.abs(theirs[i]!));
  }
  return Number.isNaN(most) ? Number.POSITIVE_INFINITY : most / (scale || 1);
}

/** @throws EngineError where two sides that are to do the same work do not: their times would say nothing */
export function checkAgreement(a: Agreement): Agreement {
  if (a.tolerance !== null && !(a.value <= a.tolerance)) {
    throw new EngineError(
      `capi and ${a.with} do not do the same work: ${a.what} ${a.value.toExponential(1)}, at most ${a.tolerance} is rounding; times would say nothing`,
    );
  }
  return a;
}
