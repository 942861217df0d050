// Images a second and thread of the generators, of decoding and of whole batches: `npm run build && node benchmarks/speed/images.js [FOLDER]`.

import { existsSync } from 'node:fs';
import { openBatches, openSource } from '../../dist/src/images/index.js';

const fashion = '/usr/share/datasets/fashion-mnist';
const uris = ['synthetic:scenes', 'synthetic:scenes?size=224'];
if (existsSync(fashion)) uris.push(`fashion-scenes:${fashion}`);
if (process.argv[2]) uris.push(`folder:${process.argv[2]}`);

const ROUNDS = 5;
const SECONDS = 1;

/** Calls `step` for SECONDS; gives how many images it made a second of the clock and of processor time. */
async function measure(step) {
  const clock = performance.now();
  const before = process.cpuUsage();
  let images = 0;
  while (performance.now() - clock < SECONDS * 1000) images += await step();
  const used = process.cpuUsage(before);
  return {
    wall: images / ((performance.now() - clock) / 1000),
    cpu: images / ((used.user + used.system) / 1e6),
  };
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const show = (name, rounds) => {
  const wall = rounds.map((r) => r.wall);
  const range = `${Math.min(...wall).toFixed(0)}-${Math.max(...wall).toFixed(0)}`;
  console.log(
    `${name.padEnd(52)} ${median(wall).toFixed(0).padStart(7)} img/s (${range}), ${median(rounds.map((r) => r.cpu)).toFixed(0)} a processor second`,
  );
};

for (const uri of uris) {
  const source = await openSource(uri, { split: 'train' });
  const side = source.nativeSize?.height ?? 224;
  let i = 0;
  const read = async () => {
    await source.read(i++ % source.length);
    return 1;
  };
  for (let k = 0; k < 50; k++) await read();
  const reads = [];
  for (let r = 0; r < ROUNDS; r++) reads.push(await measure(read));
  show(`${uri}: read`, reads);

  for (const workers of [0, 1, 2]) {
    const batch = Math.min(64, source.length);
    const batches = await openBatches(source, {
      ...{ height: side, width: side, batch, seed: 0, workers },
      ...{ cropScale: [0.6, 1], cropRatio: [3 / 4, 4 / 3], flip: 0.5, maxBadShare: 0.1 },
    });
    let step = 0;
    const next = async () => (await batches.next(step++)).indices.length;
    for (let k = 0; k < 6; k++) await next();
    const rounds = [];
    for (let r = 0; r < ROUNDS; r++) rounds.push(await measure(next));
    show(`${uri}: batches at ${side} px, ${workers} threads`, rounds);
    await batches.close();
  }
}
