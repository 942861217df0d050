// The thread that draws every n-th batch ahead of the trainer; it never needs the main thread to go on, which may be deep in a native call.

import { parentPort, workerData } from 'node:worker_threads';
import { openSame } from '../sources/index.js';
import { Drawer, type DrawnBatch, type DrawOptions, packError, type SentError } from './drawer.js';

/** What a drawing thread is started with. */
export interface WorkerTask {
  uri: string;
  /** Number of images the main thread sees, to notice a folder that changed. */
  length: number;
  options: DrawOptions;
  /** Draws steps first, first + stride, …, each as soon as it is less than `ahead` steps from the one wanted. */
  first: number;
  stride: number;
  ahead: number;
  /** One Int32: the step that the trainer wants, counted from `start`. */
  wanted: SharedArrayBuffer;
  start: number;
}

export type WorkerMessage = { batch: DrawnBatch } | { error: SentError };

async function drawAhead(task: WorkerTask): Promise<void> {
  const drawer = new Drawer(await openSame(task.uri, task.length), task.options);
  const wanted = new Int32Array(task.wanted);
  for (let step = task.first; ; step += task.stride) {
    for (;;) {
      const now = Atomics.load(wanted, 0);
      if (step - task.start < now + task.ahead) break;
      Atomics.wait(wanted, 0, now);
    }
    const batch = await drawer.draw(step);
    const message: WorkerMessage = { batch };
    parentPort!.postMessage(message, [batch.pixels.buffer, batch.indices.buffer]);
  }
}

drawAhead(workerData as WorkerTask).catch((error: unknown) => {
  const message: WorkerMessage = { error: packError(error) };
  parentPort!.postMessage(message);
});
