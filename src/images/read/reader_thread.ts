// The thread that reads the images it is sent the numbers of, several at once, and sends back what came out.

import { parentPort, workerData } from 'node:worker_threads';
import { packError, type SentError } from '../draw/drawer.js';
import { openSame } from '../sources/index.js';
import { type ReaderJob, type ReaderResult, readOne } from './reader_jobs.js';

/** What a reading thread is started with. */
export interface ReaderTask {
  uri: string;
  /** Number of images the main thread sees, to notice a folder that changed. */
  length: number;
  job: ReaderJob;
}

/** A request is its number and the image's index; the answer bears the same number. */
export interface ReaderRequest {
  request: number;
  index: number;
}
export type ReaderAnswer =
  | { request: number; result: ReaderResult<ReaderJob> }
  | { request: number; error: SentError };

const task = workerData as ReaderTask;
const opened = openSame(task.uri, task.length);
opened.catch(() => {}); // every request tells it

parentPort!.on('message', async ({ request, index }: ReaderRequest) => {
  let answer: ReaderAnswer;
  try {
    answer = { request, result: await readOne(await opened, index, task.job) };
  } catch (error) {
    answer = { request, error: packError(error) };
  }
  const parts = 'result' in answer ? Object.values(answer.result) : [];
  const buffers = parts.flatMap((part) => (ArrayBuffer.isView(part) ? [part.buffer as ArrayBuffer] : []));
  parentPort!.postMessage(answer, buffers);
});
