// Batches for training, drawn ahead in worker threads so that the engine does not wait while decoding can keep up.

import { Worker } from 'node:worker_threads';
import { decodingThreads } from '../../cores.js';
import { UsageError } from '../../errors.js';
import type { ImageSource } from '../source.js';
import type { WorkerMessage, WorkerTask } from './draw_thread.js';
import { type BadImage, checkBad, Drawer, type DrawnBatch, type DrawOptions, unpackError } from './drawer.js';

/** What to draw and how far ahead. */
export interface BatchOptions extends DrawOptions {
  /** Drawing threads; 0 draws in the calling thread, on demand. Changes no batch. Default: decodingThreads(). */
  workers?: number;
  /** Batches kept ready. Changes no batch. Default 4, and at least one a thread. */
  prefetch?: number;
  /** The first step that will be asked for. */
  startStep?: number;
}

/** One training batch: pixels [batch, height, width, 3] and the source's index of each image. */
export interface Batch {
  step: number;
  pixels: Uint8Array<ArrayBuffer>;
  indices: Int32Array<ArrayBuffer>;
}

export interface BatchStats {
  /** Seconds that `next` made its caller wait, all calls together. */
  waitSeconds: number;
  /** Batches handed out. */
  batches: number;
  /** Images found unreadable so far, each once, in the order found. */
  skipped: { name: string; reason: string }[];
  workers: number;
}

/** A stream of batches, asked for one step after another. */
export interface Batches {
  /** Steps of one pass over the source; an incomplete last batch is dropped. */
  readonly stepsPerEpoch: number;
  /** The batch of `step`: first `startStep`, then each following one. Throws DataError when too many images are unreadable. */
  next(step: number): Promise<Batch>;
  stats(): BatchStats;
  /** Ends the threads. To be called in the end, also after an error. */
  close(): Promise<void>;
}

/**
 * Opens the training batches of a source. Batch `step` depends on the source, the seed and the step only, so a run that is resumed
 * sees the batches that it would have seen. Throws UsageError when the source has fewer images than a batch.
 */
export async function openBatches(source: ImageSource, options: BatchOptions): Promise<Batches> {
  if (source.length < options.batch) {
    throw new UsageError(
      `${source.uri} has ${source.length} images, fewer than one batch of ${options.batch}: lower train.batch`,
    );
  }
  const workers = options.workers ?? decodingThreads();
  const supply =
    workers > 0 && canStartWorkers() ? new Pool(source, options, workers) : new Direct(source, options);
  return new OrderedBatches(source, options, supply);
}

/** Where the drawn batches come from. */
interface Supply {
  readonly workers: number;
  take(step: number): Promise<DrawnBatch>;
  close(): Promise<void>;
}

/** Threads start from compiled JavaScript only; from TypeScript sources (in tests) batches are drawn in this thread, the same ones. */
function canStartWorkers(): boolean {
  return import.meta.url.endsWith('.js');
}

class OrderedBatches implements Batches {
  readonly stepsPerEpoch: number;
  private expected: number;
  private waitSeconds = 0;
  private batches = 0;
  private readonly bad = new Map<number, BadImage>();

  constructor(
    private readonly source: ImageSource,
    private readonly options: BatchOptions,
    private readonly supply: Supply,
  ) {
    this.stepsPerEpoch = Math.floor(source.length / options.batch);
    this.expected = options.startStep ?? 0;
  }

  async next(step: number): Promise<Batch> {
    if (step !== this.expected)
      throw new Error(`Batch ${step} was asked for out of order: ${this.expected} is next`);
    const begin = performance.now();
    const { pixels, indices, bad } = await this.supply.take(step);
    this.waitSeconds += (performance.now() - begin) / 1000;
    for (const image of bad) if (!this.bad.has(image.index)) this.bad.set(image.index, image);
    checkBad(this.source, [...this.bad.values()], this.options.maxBadShare);
    this.expected++;
    this.batches++;
    return { step, pixels, indices };
  }

  stats(): BatchStats {
    return {
      waitSeconds: this.waitSeconds,
      batches: this.batches,
      skipped: [...this.bad.values()].map(({ index, reason }) => ({ name: this.source.name(index), reason })),
      workers: this.supply.workers,
    };
  }

  close(): Promise<void> {
    return this.supply.close();
  }
}

/** Draws in the calling thread, when asked. */
class Direct implements Supply {
  readonly workers = 0;
  private readonly drawer: Drawer;

  constructor(source: ImageSource, options: BatchOptions) {
    this.drawer = new Drawer(source, options);
  }

  take(step: number): Promise<DrawnBatch> {
    return this.drawer.draw(step);
  }

  async close(): Promise<void> {}
}

/** Worker threads, each drawing every n-th step up to `ahead` steps before it is wanted. */
class Pool implements Supply {
  private readonly threads: Worker[];
  private readonly wanted = new Int32Array(new SharedArrayBuffer(4));
  private readonly start: number;
  private readonly ready = new Map<number, DrawnBatch>();
  private failure: Error | undefined;
  private closing = false;
  private wake: () => void = () => {};

  constructor(
    source: ImageSource,
    options: BatchOptions,
    readonly workers: number,
  ) {
    this.start = options.startStep ?? 0;
    const { batch, seed, maxBadShare, height, width, cropScale, cropRatio, flip } = options;
    const drawOptions: DrawOptions = { batch, seed, maxBadShare, height, width, cropScale, cropRatio, flip };
    this.threads = Array.from({ length: workers }, (_, i) => {
      const task: WorkerTask = {
        uri: source.uri,
        length: source.length,
        options: drawOptions,
        first: this.start + i,
        stride: workers,
        ahead: Math.max(options.prefetch ?? 4, workers),
        wanted: this.wanted.buffer as SharedArrayBuffer,
        start: this.start,
      };
      const thread = new Worker(new URL('./draw_thread.js', import.meta.url), { workerData: task });
      thread.on('message', (message: WorkerMessage) => {
        if ('error' in message) this.fail(unpackError(message.error));
        else this.ready.set(message.batch.step, message.batch);
        this.wake();
      });
      thread.on('error', (error) => this.fail(error));
      thread.on('exit', (code) =>
        this.fail(new Error(`A thread that draws batches ended with code ${code}`)),
      );
      return thread;
    });
  }

  async take(step: number): Promise<DrawnBatch> {
    Atomics.store(this.wanted, 0, step - this.start);
    Atomics.notify(this.wanted, 0);
    for (;;) {
      const batch = this.ready.get(step);
      this.ready.delete(step);
      if (batch && !this.closing) return batch;
      if (this.failure) throw this.failure;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  async close(): Promise<void> {
    this.closing = true;
    this.failure ??= new Error('The batches are closed');
    this.wake();
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }

  private fail(error: Error): void {
    if (this.closing) return;
    this.failure ??= error;
    this.wake();
  }
}
