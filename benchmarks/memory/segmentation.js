// Segmentation heads over a feature store several times larger than their memory:
// `npm run build && node benchmarks/memory/segmentation.js [FEATURES_GIB] [LIMIT_GIB] [HEADS] [FOLDER]` (6, 1.5, knn,logreg,linear, a temporary one).
//
// Features and labels are made, in the store's own files, and the heads run, in a process of its own in a memory cgroup, which Linux lets root
// make: beyond the limit it is killed. Pages of files that it wrote and read count too, but can be dropped. Where no cgroup can be made
// nothing is imposed, and the peak is only measured. FOLDER needs a little more disk than FEATURES_GIB; a named one is kept.

import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stream } from '../../dist/src/base/random.js';
import { openEngine } from '../../dist/src/engine/select.js';
import { listStore, storedParts } from '../../dist/src/features/store.js';
import { segment } from '../../dist/src/probes/seg/index.js';
import { segmentationProtocolSchema } from '../../dist/src/probes/seg/protocol.js';

const GIB = 2 ** 30;
const [GRID, PATCH, WIDTH, CLASSES, IGNORED, THREADS] = [16, 14, 1024, 20, 255, 2];
const PATCHES = GRID ** 2;
const HELD = 4; // validation images and test images: 1,024 queries each
const parts = {
  features: { dtype: 'float32', perImage: PATCHES, width: WIDTH },
  labels: { dtype: 'uint8', perImage: PATCHES, width: PATCH ** 2 },
};
const protocol = (heads) => {
  const all = {
    knn: { k: [1, 10], metrics: ['cosine', 'l2'] },
    logreg: { C: [1], max_iterations: 8, tolerance: 1e-6 },
    linear: {
      learning_rates: [1e-3, 1e-2],
      weight_decays: [1e-3],
      batch: 16,
      steps: 20,
      warmup_steps: 2,
      betas: [0.9, 0.999],
      eps: 1e-8,
      init_std: 0.01,
    },
  };
  return segmentationProtocolSchema.parse({
    transform: { image_size: null },
    validation_share: 0.1,
    split_seed: 0,
    standardise: true,
    metric: 'official',
    ...Object.fromEntries(Object.entries(all).map(([name, p]) => [name, heads.includes(name) ? p : null])),
  });
};

/** The patches of some images, one image a piece: the noise of a table around the centre of each patch's class. */
async function* makeImages(first, images, key) {
  const table = stream(0, 'noise').fillNormal(new Float32Array(2 ** 20 + WIDTH));
  const centres = stream(0, 'centres').fillNormal(new Float32Array(CLASSES * WIDTH), 0.15);
  for (let image = first; image < images; image++) {
    const random = stream(0, key, image);
    const here = random.sample(CLASSES, 4);
    const [top, left] = [random.int(GRID), random.int(GRID)];
    const features = new Float32Array(PATCHES * WIDTH);
    const labels = new Uint8Array(PATCHES * PATCH ** 2);
    for (let p = 0; p < PATCHES; p++) {
      const label = here[2 * Number(Math.floor(p / GRID) >= top) + Number(p % GRID >= left)];
      const noise = random.int(2 ** 20);
      for (let d = 0; d < WIDTH; d++) features[p * WIDTH + d] = centres[label * WIDTH + d] + table[noise + d];
      labels.fill(label, p * PATCH ** 2, (p + 1) * PATCH ** 2);
      labels.fill(IGNORED, p * PATCH ** 2, p * PATCH ** 2 + 2);
    }
    yield { features, labels };
  }
}

const opened = [];

/** One set out of the store, made where it is missing. */
async function openSet(folder, name, images) {
  const key = { kind: 'features', title: name, made_by: 'benchmark', data: name, how: { images } };
  const make = (first) => makeImages(first, images, name);
  const { parts: files } = await storedParts(folder, key, parts, images, make);
  opened.push(files.features, files.labels);
  return { images, features: files.features, labels: files.labels };
}

const status = (name) => {
  const text = readFileSync('/proc/self/status', 'utf8');
  return Number(new RegExp(`${name}:\\s*(\\d+)`).exec(text)[1]) * 1024;
};
const gib = (bytes) => `${(bytes / GIB).toFixed(2)} GiB`;

/** What runs inside the limit. */
async function child(folder, images, heads, memory) {
  let start = performance.now();
  await openSet(folder, 'train', images);
  await openSet(folder, 'test', HELD);
  for (const file of opened.splice(0)) await file.close();
  const stored = (await listStore(folder)).reduce((sum, { bytes }) => sum + bytes, 0);
  const made = ((performance.now() - start) / 1000).toFixed(0);
  console.log(
    `${images} images, ${images * PATCHES} patch vectors of width ${WIDTH}: ${gib(stored)} on disk, made in ${made} s`,
  );
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: THREADS });
  for (const head of heads) {
    start = performance.now();
    const train = await openSet(folder, 'train', images);
    const all = Int32Array.from({ length: images }, (_, i) => i);
    const results = await segment(
      {
        engine,
        train,
        split: { train: all.subarray(0, images - HELD), validation: all.subarray(images - HELD) },
        grid: { rows: GRID, columns: GRID },
        patch: PATCH,
        classes: CLASSES,
        ignore: [IGNORED],
        seed: 0,
        memory,
        tests: [{ name: 'test', open: () => openSet(folder, 'test', HELD) }],
      },
      protocol([head]),
    );
    for (const file of opened.splice(0)) await file.close();
    const seconds = (performance.now() - start) / 1000;
    for (const { grid, tests } of results) {
      const hits = tests.test.counts.hits.reduce((a, b) => a + b, 0);
      const accuracy = hits / tests.test.counts.truth.reduce((a, b) => a + b, 0);
      console.log(
        `${head.padEnd(7)} ${seconds.toFixed(0).padStart(6)} s, peak so far ${gib(status('VmHWM'))} resident; ` +
          `${grid.length} grid points, accuracy ${accuracy.toFixed(3)} on ${HELD} test images`,
      );
    }
  }
}

/** A memory cgroup of version 1 or 2 with a limit; undefined where none can be made. */
function makeGroup(limit) {
  const name = `capi-benchmark-${process.pid}`;
  const versions = [
    [
      '/sys/fs/cgroup/memory',
      'memory.limit_in_bytes',
      'memory.memsw.limit_in_bytes',
      'memory.max_usage_in_bytes',
    ],
    ['/sys/fs/cgroup', 'memory.max', 'memory.swap.max', 'memory.peak'],
  ];
  for (const [root, most, swap, peak] of versions) {
    const folder = join(root, name);
    try {
      if (!existsSync(join(root, 'cgroup.procs'))) continue;
      mkdirSync(folder);
      writeFileSync(join(folder, most), String(limit));
      try {
        writeFileSync(join(folder, swap), swap === 'memory.swap.max' ? '0' : String(limit));
      } catch {
        // Without swap there is no such file.
      }
      return { folder, peak: join(folder, peak) };
    } catch {
      if (existsSync(folder)) rmdirSync(folder);
    }
  }
  return undefined;
}

/** Runs this file as the child; resolves to its exit status. */
function runChild(group, args) {
  const enter = group ? `echo $$ > ${join(group.folder, 'cgroup.procs')} && ` : '';
  const command = `${enter}exec "$@"`;
  const self = fileURLToPath(import.meta.url);
  const process_ = spawn('sh', ['-c', command, 'sh', process.execPath, self, '--child', ...args], {
    stdio: 'inherit',
  });
  return new Promise((resolve) => process_.on('exit', (code, signal) => resolve(signal ?? code)));
}

if (process.argv[2] === '--child') {
  const [folder, images, heads, memory] = process.argv.slice(3);
  await child(folder, Number(images), heads.split(','), Number(memory));
} else {
  const [size = '6', most = '1.5', heads = 'knn,logreg,linear', given] = process.argv.slice(2);
  const limit = Math.round(Number(most) * GIB);
  const images = Math.round((Number(size) * GIB) / (PATCHES * WIDTH * 4));
  const folder = given ?? mkdtempSync(join(tmpdir(), 'capi-memory-'));
  mkdirSync(folder, { recursive: true });
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < 1.2 * Number(size) * GIB) throw new Error(`${folder} has ${gib(bavail * bsize)} free`);
  const group = makeGroup(limit);
  try {
    console.log(
      `limit ${gib(limit)}, ${group ? `imposed by ${group.folder}` : 'not imposed: no cgroup can be made here'}`,
    );
    const code = await runChild(group, [folder, String(images), heads, String(limit / 8)]);
    if (group) console.log(`peak with the pages of files: ${gib(Number(readFileSync(group.peak, 'utf8')))}`);
    console.log(code === 0 ? 'done' : `failed: ${code}`);
    process.exitCode = code === 0 ? 0 : 1;
  } finally {
    if (group) rmdirSync(group.folder);
    if (given === undefined) rmSync(folder, { recursive: true });
  }
}
