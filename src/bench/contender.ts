// A contender of a benchmark: a process of its own that is set up once, then answers one request at a time and idles in between.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { EngineError } from '../errors.js';

/** Root of the package: this file is dist/src/bench/contender.js. */
export const packageRoot = join(import.meta.dirname, '../../..');

/** Time of one piece of work, told by the contender itself. */
export interface Timed {
  /** Milliseconds, one for each repetition. */
  ms: number[];
  median_ms: number;
  /** Processor time of all repetitions, all threads together; null where it cannot be told. */
  cpu_ms: number | null;
}

export type Versions = Record<string, string | null>;

export interface ContenderFacts {
  threads: number;
  versions: Versions;
  [fact: string]: unknown;
}

export interface Contender {
  readonly name: string;
  readonly facts: ContenderFacts;
  /** @throws EngineError with what the contender said */
  ask<T = Record<string, unknown>>(request: string, values?: Record<string, unknown>): Promise<T>;
  /** Largest resident memory of the process so far, in bytes; null where it cannot be told. */
  peakBytes(): Promise<number | null>;
  close(): Promise<void>;
}

export interface ContenderStart {
  name: string;
  /** The program and its first arguments. */
  command: string[];
  setup: Record<string, unknown>;
  /** null: the contender chooses, and says how many. */
  threads: number | null;
  /** Keep the process on as many cores as it has threads: for work whose library starts threads of its own. */
  pinned?: boolean;
  /** What to type when it does not start. */
  fix?: string;
}

/** Our side: the same build of capi in a process of its own. */
export const ourCommand = (kind: string): string[] => [
  process.execPath,
  join(import.meta.dirname, 'worker.js'),
  kind,
];

/** The device of PyTorch beside ours: a CUDA GPU beside a CUDA GPU, else the processor. */
export const deviceOf = (own: Contender): string => (own.facts.device === 'cuda' ? 'cuda' : 'cpu');

/** Why the record of a benchmark on a GPU says nothing of products and little of memory; undefined on the processor. */
export const gpuNote = (own: Contender): string | undefined =>
  own.facts.device === 'cpu'
    ? undefined
    : 'on a GPU: products were not timed, and peak memory is that of the processes on the host';

/** A Python contender of benchmarks/speed/pytorch. */
export const pythonCommand = (python: string, script: string): string[] => [
  python,
  join(packageRoot, 'benchmarks/speed/pytorch', script),
];

export const PYTHON_FIX =
  'install benchmarks/speed/pytorch/requirements.txt there, or give --pytorch none to time capi alone';

/** Whether a pinned contender of so many threads is kept on fewer cores than there are. */
export const isPinned = (threads: number | null): boolean =>
  threads !== null && threads < availableParallelism() && process.platform === 'linux';

/** Starts a contender and waits until it is set up. @throws EngineError when it does not start or refuses the set-up */
export async function startContender(start: ContenderStart): Promise<Contender> {
  const { name, threads } = start;
  const pin = start.pinned && isPinned(threads) ? ['taskset', '-c', `0-${threads! - 1}`] : [];
  const [program, ...args] = [...pin, ...start.command];
  const child = spawn(program!, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...(threads ? threadLimits(threads) : {}),
      PYTHONDONTWRITEBYTECODE: '1',
      PYTHONUNBUFFERED: '1',
    },
  });
  const told = lastWords(child);
  const failed = new Promise<never>((_, reject) => {
    const why = (text: string) =>
      reject(
        new EngineError(
          `${name} did not run with ${start.command[0]} (${text}${told() ? `; ${told()}` : ''})${start.fix ? `: ${start.fix}` : ''}`,
        ),
      );
    child.on('error', (error) => why(error.message));
    child.on('close', (code, signal) => why(signal ? `ended by ${signal}` : `it ended with code ${code}`));
  });
  failed.catch(() => {}); // told to whoever waits for an answer
  child.stdin!.on('error', () => {}); // a process that is gone: `failed` says why
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const answer = async (): Promise<Record<string, unknown>> => {
    const line = await Promise.race([lines.next(), failed]);
    const value = JSON.parse(line.done ? await failed : line.value) as Record<string, unknown>;
    if (typeof value.error === 'string') throw new EngineError(`${name}: ${value.error}`);
    return value;
  };
  const send = (value: object): void => void child.stdin!.write(`${JSON.stringify(value)}\n`);
  send({ ...start.setup, threads });
  const close = () => ended(child);
  try {
    const { ready } = await answer();
    const ask = async <T>(request: string, values: Record<string, unknown> = {}): Promise<T> => {
      send({ do: request, ...values });
      return (await answer()).ok as T;
    };
    const peakBytes = async () => (await ask<{ peak_bytes: number }>('memory')).peak_bytes;
    return { name, facts: ready as ContenderFacts, ask, peakBytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The libraries that Python may load read these before they start threads. */
function threadLimits(threads: number): Record<string, string> {
  const names = ['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'];
  return Object.fromEntries(names.map((name) => [name, String(threads)]));
}

/** The last line that a process wrote to stderr. */
function lastWords(child: ChildProcess): () => string {
  let text = '';
  child.stderr!.on('data', (data: Buffer) => {
    text = (text + data.toString()).slice(-4000);
  });
  return () => text.trim().split('\n').at(-1)?.trim() ?? '';
}

/** Closes the pipe, on which a contender ends; one that does not is killed. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stdin!.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(timer);
}

/** The python that --pytorch names; without it .venv/bin/python of the checkout where there is one, and `none` is none. */
export function pythonOf(flag: string | undefined): string | undefined {
  if (flag !== undefined) return flag === 'none' ? undefined : flag;
  const own = join(packageRoot, '.venv/bin/python');
  return existsSync(own) ? own : undefined;
}
