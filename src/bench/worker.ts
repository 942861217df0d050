// Our side of a benchmark in a process of its own: reads a set-up, then answers requests, JSON lines both ways.
import { createInterface } from 'node:readline';
import { type Handlers, type Prepare, peakBytes } from './workers/handlers.js';

const kinds: Record<string, () => Promise<{ prepare: Prepare }>> = {
  pretrain: () => import('./workers/pretrain.js'),
  products: () => import('./workers/products.js'),
  extract: () => import('./workers/extract.js'),
  probes: () => import('./workers/probes.js'),
  knn: () => import('./workers/knn.js'),
  logreg: () => import('./workers/logreg.js'),
  decode: () => import('./workers/decode.js'),
};

async function serve(kind: string): Promise<void> {
  const answer = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  console.log = console.error; // what libraries print must not mix with the answers
  let handlers: Handlers | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const request = JSON.parse(line);
      if (!handlers) {
        const made = await (await kinds[kind]!()).prepare(request as never);
        handlers = { memory: () => ({ peak_bytes: peakBytes() }), ...made.handlers };
        answer({ ready: made.facts });
        continue;
      }
      const handler = handlers[request.do];
      if (!handler)
        throw new Error(`no request ${request.do}; accepted: ${Object.keys(handlers).join(', ')}`);
      answer({ ok: await handler(request as never) });
    } catch (error) {
      console.error(error);
      answer({ error: (error as Error).message });
    }
  }
  process.exit(0); // threads of ours must not outlive the one who asks
}

await serve(process.argv[2]!);
