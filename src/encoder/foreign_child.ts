// The process that a foreign model runs in: it answers one request after another, and ends when its parent does, whatever the model is doing.
import { writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import { Worker } from 'node:worker_threads';
import type { OnnxFile } from '../engine/onnx/foreign_file.js';
import { CapiError } from '../errors.js';
import { type ChildAnswer, type ChildRequest, OUT_OF_MEMORY } from './foreign_protocol.js';
import type { ForeignReader } from './foreign_reader.js';

/** Share of the machine's memory at which the process ends itself, before the system ends another. */
const MOST_MEMORY = 0.9;

let file: OnnxFile | undefined;
let reader: ForeignReader | undefined;

async function answer(request: ChildRequest): Promise<ChildAnswer> {
  try {
    if (request.ask === 'run') return { features: await reader!.run(request.images, request.n) };
    const { openOnnxFile } = await import('../engine/onnx/foreign_file.js');
    const { ForeignReader } = await import('./foreign_reader.js');
    const { path, device, threads, plan } = request;
    file = await openOnnxFile(path, { device, ...(threads === undefined ? {} : { threads }) });
    reader = new ForeignReader(file, plan);
    return {};
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error));
    return { error: { name: error instanceof CapiError ? error.name : '', message } };
  }
}

/**
 * A loop in native code blocks this thread for good, so that no message or signal is heard: another thread looks for the parent and at the
 * memory four times a second.
 */
function watch(parent: number): void {
  const most = MOST_MEMORY * Math.min(totalmem(), constrainedMemory?.() || Number.POSITIVE_INFINITY);
  new Worker(
    `const { writeSync } = require('node:fs');
    setInterval(() => {
      const full = process.memoryUsage.rss() > ${most};
      if (full) writeSync(2, ${JSON.stringify(`${OUT_OF_MEMORY}\n`)});
      if (full || process.ppid !== ${parent}) process.kill(process.pid, 'SIGKILL');
    }, 250);`,
    { eval: true },
  ).unref();
}

watch(Number(process.argv[2]));
try {
  writeFileSync('/proc/self/oom_score_adj', '1000'); // where memory runs out all the same, this process goes first
} catch {
  // not Linux, or not allowed
}
// Ctrl-C reaches the whole group: the parent decides.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => {});
// An exit would end the watching thread and then wait for native code that may never come back.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
let last = Promise.resolve();
process.on('message', (request: ChildRequest) => {
  last = last.then(async () => {
    const reply = await answer(request);
    process.send?.(reply);
  });
});
