// Images read in a given order, several at once and a bounded number ahead of the one who uses them, in threads where there are any.

import { Worker } from 'node:worker_threads';
import { decodingThreads } from '../../cores.js';
import { unpackError } from '../draw/drawer.js';
import type { ImageSource } from '../source.js';
import { paletteCheck } from './palettes.js';
import { type ReaderJob, type ReaderResult, readOne } from './reader_jobs.js';
import type { ReaderAnswer, ReaderRequest, ReaderTask } from './reader_thread.js';
import { checkTransform, type EvaluationOptions, type EvaluationView } from './views.js';

/** How to read; changes no result. */
export interface ReaderOptions {
  /** Reading threads; 0 reads in the calling thread. Default: `threads`, 1 to 8, and 0 for few images. */
  workers?: number;
  /** Threads that may be busy with reading. Default: decodingThreads(). */
  threads?: number;
  /** Images being read or waiting to be taken, at most. Default 16, or 8 a thread. */
  ahead?: number;
  /**
   * Images that are used together: the next ones are not begun before the last of these is taken and another is asked for, so that no
   * thread reads while they are being used. Default: reading never rests.
   */
  together?: number;
}

/** Fewer images than this are read sooner than a thread has started. */
const WORTH_A_THREAD = 64;

/**
 * Reads the images `indices` (all of them, without) at evaluation size, one after another in that order, each while later ones are being
 * read. Throws at its turn what an image cannot be read for (see readForEvaluation): an evaluation leaves no image out silently.
 * Ends its threads when the loop over it ends, also by `break` or an error.
 */
export function readAll(
  source: ImageSource,
  indices: ArrayLike<number> | undefined,
  transform: EvaluationOptions,
  options: ReaderOptions = {},
): AsyncGenerator<EvaluationView, void, undefined> {
  checkTransform(transform);
  const job = { read: 'view', options: transform } as const;
  return withPalettesCompared(source, readInOrder(source, indices, job, options));
}

/** Compares the palettes of label maps here, since each reading thread has seen its own maps only. */
async function* withPalettesCompared(
  source: ImageSource,
  views: AsyncGenerator<EvaluationView, void, undefined>,
): AsyncGenerator<EvaluationView, void, undefined> {
  const check = paletteCheck();
  for await (const view of views) {
    check(`the label map of ${source.name(view.index)}`, view);
    yield view;
  }
}

/** The same for any job. */
export async function* readInOrder<J extends ReaderJob>(
  source: ImageSource,
  indices: ArrayLike<number> | undefined,
  job: J,
  options: ReaderOptions = {},
): AsyncGenerator<ReaderResult<J>, void, undefined> {
  const count = indices?.length ?? source.length;
  const usual = Math.min(8, Math.max(1, options.threads ?? decodingThreads()));
  const workers = canStartThreads() ? (options.workers ?? (count < WORTH_A_THREAD ? 0 : usual)) : 0;
  const ahead = Math.max(1, options.ahead ?? Math.max(16, 8 * workers));
  const pool =
    workers > 0 ? new ReaderPool({ uri: source.uri, length: source.length, job }, workers) : undefined;
  const start = (i: number): Promise<object> => (pool ? pool.read(i) : readOne(source, i, job));
  const pending: Promise<object>[] = [];
  const together = options.together ?? count;
  try {
    for (let next = 0; next < count || pending.length > 0; ) {
      const taken = next - pending.length;
      const end = Math.min(count, (Math.floor(taken / together) + 1) * together);
      while (next < end && pending.length < ahead) {
        const result = start(indices ? indices[next]! : next);
        result.catch(() => {}); // it is told when its turn comes
        pending.push(result);
        next++;
      }
      yield (await pending.shift()!) as ReaderResult<J>;
    }
  } finally {
    await Promise.allSettled(pool ? [] : pending);
    await pool?.close();
  }
}

/** Threads start from compiled JavaScript only; from TypeScript sources (in tests) this thread reads the same. */
function canStartThreads(): boolean {
  return import.meta.url.endsWith('.js');
}

interface Waiting {
  resolve(result: object): void;
  reject(error: Error): void;
}

/** Threads that read what they are asked for, in turn. */
class ReaderPool {
  private readonly threads: Worker[];
  private readonly waiting = new Map<number, Waiting>();
  private requests = 0;
  private failure: Error | undefined;

  constructor(task: ReaderTask, workers: number) {
    this.threads = Array.from({ length: workers }, () => {
      const thread = new Worker(new URL('./reader_thread.js', import.meta.url), { workerData: task });
      thread.on('message', (answer: ReaderAnswer) => this.take(answer));
      thread.on('error', (error) => this.fail(error));
      thread.on('exit', (code) => this.fail(new Error(`A thread that reads images ended with code ${code}`)));
      return thread;
    });
  }

  read(index: number): Promise<object> {
    if (this.failure) return Promise.reject(this.failure);
    const request = this.requests++;
    return new Promise((resolve, reject) => {
      this.waiting.set(request, { resolve, reject });
      const message: ReaderRequest = { request, index };
      this.threads[request % this.threads.length]!.postMessage(message);
    });
  }

  async close(): Promise<void> {
    this.failure ??= new Error('The reader is closed');
    this.waiting.clear();
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }

  private take(answer: ReaderAnswer): void {
    const waiting = this.waiting.get(answer.request);
    this.waiting.delete(answer.request);
    if ('error' in answer) waiting?.reject(unpackError(answer.error));
    else waiting?.resolve(answer.result);
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting.values()) reject(this.failure);
    this.waiting.clear();
  }
}
