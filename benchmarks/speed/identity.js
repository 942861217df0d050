#!/usr/bin/env node
// What it costs to know files by their contents: digests read for the first time and from the cache, beside names and sizes and beside
// decoding the images, in alternating rounds. `node benchmarks/speed/identity.js --files 50000 --rounds 5` after `npm run build`.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '50000' },
    rounds: { type: 'string', default: '5' },
    side: { type: 'string', default: '64' },
    decode: { type: 'string', default: 'once' }, // once, or never
    folder: { type: 'string' }, // an existing folder of images, instead of made ones
  },
});
const files = Number(values.files);
const base = mkdtempSync(join(tmpdir(), 'capi-identity-'));
process.env.CAPI_CACHE = join(base, 'cache');
process.on('exit', () => rmSync(base, { recursive: true, force: true }));

const { openSource } = await import('../../dist/src/images/sources/index.js');
const { readAll } = await import('../../dist/src/images/read/readers.js');

const folder = values.folder ?? (await made());
const opened = () => openSource(`folder:${folder}`);

/** Small JPEG files in a hundred class folders, no two the same. */
async function made() {
  const root = join(base, 'data');
  const side = Number(values.side);
  const area = side * side * 3;
  for (let first = 0; first < files; first += 64) {
    await Promise.all(
      Array.from({ length: Math.min(64, files - first) }, async (_, k) => {
        const i = first + k;
        const data = Buffer.alloc(area);
        for (let p = 0; p < area; p++) data[p] = (p * ((i % 97) + 1) + i * 31 + (p >> 5) * (i >> 7)) & 255;
        const class_ = join(root, `c${i % 100}`);
        const jpeg = await sharp(data, { raw: { width: side, height: side, channels: 3 } })
          .jpeg()
          .toBuffer();
        mkdirSync(class_, { recursive: true });
        writeFileSync(join(class_, `${i}.jpg`), jpeg);
      }),
    );
  }
  await new Promise((done) => setTimeout(done, 3500)); // younger files are never taken from the cache
  return root;
}

async function seconds(work) {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

// Each round opens the folder anew, as a command does; the listing is part of all three.
const ways = {
  'names and sizes (before)': async () => (await opened()).formerIdentity(),
  'contents, first time': async () => {
    rmSync(process.env.CAPI_CACHE, { recursive: true, force: true });
    await (await opened()).identity();
  },
  'contents, from the cache': async () => (await opened()).identity(),
};
const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
await ways['names and sizes (before)'](); // the file system warms up
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, work] of Object.entries(ways)) times[name].push(await seconds(work));
}
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const text = (list) =>
  `${median(list).toFixed(2)} s (${Math.min(...list).toFixed(2)}-${Math.max(...list).toFixed(2)})`;
const [before, first, again] = Object.values(times);
console.log(`${(await opened()).length} files, ${values.rounds} alternating rounds, median (range)`);
for (const [name, list] of Object.entries(times)) console.log(`${name.padEnd(28)} ${text(list)}`);
console.log(`a second evaluation costs ${(median(again) - median(before)).toFixed(2)} s more than before`);
if (values.decode === 'once') {
  const source = await opened();
  const reading = await seconds(async () => {
    for await (const _ of readAll(source, undefined, { transform: 'squash', height: 64, width: 64 })) {
      // decoded, resized, and dropped: what an evaluation does before its encoder
    }
  });
  const share = (100 * (median(first) - median(before))) / (median(before) + reading);
  console.log(`${'decoding every image once'.padEnd(28)} ${reading.toFixed(2)} s`);
  console.log(`a first read takes ${share.toFixed(1)} % longer than before, the encoder left out`);
}
