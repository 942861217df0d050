// The thread that digests the files it is sent the paths of, and sends back what became of them, in their order.

import { parentPort } from 'node:worker_threads';
import { tryDigest } from './digest_file.js';

parentPort!.on('message', (paths: string[]) => parentPort!.postMessage(paths.map(tryDigest)));
