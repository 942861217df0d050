// What `capi bench knn` does: the k nearest keys of every query beside PyTorch and scikit-learn.
import { join } from 'node:path';
import { stream } from '../base/random.js';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../base/safetensors.js';
import { checkAgreement, compare, duration, type Entrant } from './compare.js';
import { type Contender, ourCommand, PYTHON_FIX, pythonCommand, type Timed } from './contender.js';
import type { Agreement } from './record.js';
import { type Bench, type BenchOptions, type BenchResult, runBench } from './run.js';

export interface KnnSetup {
  /** File of `keys` and `queries`. */
  work: string;
  k: number;
}

export interface KnnOptions extends BenchOptions {
  keys?: number | undefined;
  queries?: number | undefined;
  width?: number | undefined;
}

const K = 20;
/** Share of places with the same key: rounding swaps neighbours that are as far. */
const SAME_KEYS = 0.99;

export function benchKnn(options: KnnOptions): Promise<BenchResult> {
  const [keys, queries, width] = options.quick ? [2000, 200, 32] : [200_000, 20_000, 384];
  const size = {
    keys: options.keys ?? keys!,
    queries: options.queries ?? queries!,
    width: options.width ?? width!,
  };
  return runBench('knn', options, async (bench) => {
    const work = join(bench.folder, 'work.safetensors');
    await writeWork(work, size);
    const setup = { work, k: K };
    const own = await bench.start({ name: 'capi', command: ourCommand('knn'), setup });
    const few = Math.ceil(size.queries / 10);
    const entrants: Entrant[] = [
      { name: 'capi', contender: own, run: () => own.ask<Timed>('run', { count: size.queries }) },
    ];
    await own.ask('run', { count: few });
    const agreement: Agreement[] = [];
    for (const library of bench.python ? ['PyTorch', 'scikit-learn'] : []) {
      const rival = await bench.start({
        name: library,
        command: pythonCommand(bench.python!, 'neighbours.py'),
        setup: { ...setup, library },
        fix: PYTHON_FIX,
      });
      const way = await quickestWay(bench, rival, few);
      agreement.push(await sameKeys(own, rival, bench.folder));
      const run = () => rival.ask<Timed>('run', { way, count: size.queries });
      entrants.push({ name: library, contender: rival, run, note: way });
    }
    return [
      await compare({
        work: 'all queries to their nearest keys, cosine',
        sizes: { ...size, k: K },
        rounds: bench.rounds,
        entrants,
        items: size.queries,
        gflop: (2 * size.keys * size.queries * size.width) / 1e9,
        products: await bench.products(),
        agreement,
        log: bench.log,
      }),
    ];
  });
}

/** A tenth of the queries says which way of a library is the quickest here. */
async function quickestWay(bench: Bench, rival: Contender, count: number): Promise<string> {
  let best = { way: '', ms: Number.POSITIVE_INFINITY };
  for (const way of rival.facts.ways as string[]) {
    await rival.ask('run', { way, count: Math.min(count, 100) }); // loads what it needs
    const { median_ms: ms } = await rival.ask<Timed>('run', { way, count });
    bench.log(`${rival.name}, ${way}: ${duration(ms)} for ${count} queries`);
    if (ms < best.ms) best = { way, ms };
  }
  return best.way;
}

/** Of what both found last, for the same first queries. */
async function sameKeys(own: Contender, rival: Contender, folder: string): Promise<Agreement> {
  const read = async (c: Contender, file: string) => {
    await c.ask('answer', { file });
    return (await readSafetensors(file)).tensors.get('indices')!.data as Int32Array;
  };
  const ours = await read(own, join(folder, 'own.safetensors'));
  const theirs = await read(rival, join(folder, 'rival.safetensors'));
  const same = ours.reduce((n, key, i) => n + (key === theirs[i] ? 1 : 0), 0) / ours.length;
  return checkAgreement({
    with: rival.name,
    what: 'share of places with another key',
    value: 1 - same,
    tolerance: Number((1 - SAME_KEYS).toFixed(6)),
  });
}

/** Features as encoders give them, roughly: groups around 1000 centres, a common offset. */
async function writeWork(
  path: string,
  size: { keys: number; queries: number; width: number },
): Promise<void> {
  const { width } = size;
  const centres = stream(0, 'centres').fillNormal(new Float32Array(1000 * width));
  const features = (count: number, key: string): StoredTensor => {
    const random = stream(0, key);
    const data = random.fillNormal(new Float32Array(count * width));
    for (let i = 0; i < count; i++) {
      const centre = random.int(1000) * width;
      for (let j = 0; j < width; j++) data[i * width + j]! += centres[centre + j]! + 0.5;
    }
    return { dtype: 'F32', shape: [count, width], data };
  };
  const tensors = { keys: features(size.keys, 'keys'), queries: features(size.queries, 'queries') };
  await writeSafetensors(path, new Map(Object.entries(tensors)));
}
