// `capi pretrain` as a user meets it: refusals in one line that leave nothing behind, checkpoints that are damaged, --json, signals.
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { encodePng } from '../../src/images/index.js';
import { reasonMark } from '../support/marks.js';
import { mountSmallDisk, unmount } from '../support/small_disk.js';
import { capi, type Run, root } from './capi.js';

vi.setConfig({ testTimeout: 180_000 }); // one or two processes a test, about a second each on an idle machine
const base = mkdtempSync(join(tmpdir(), 'capi-cli-'));
afterAll(() => {
  if (mounted) unmount(disk);
  rmSync(base, { recursive: true, force: true });
});
const config = join(base, 'small.yaml');
const at = (...names: string[]): string => join(base, ...names);
const run = (out: string, ...more: string[]): Run => capi(['pretrain', config, '--out', at(out), ...more]);

/** The one line on stderr; JSON lines of progress stand before it only when the run had begun. */
function line({ stderr }: Run): string {
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((text) => !text.startsWith('{'));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^error: /);
  return lines[0]!.slice('error: '.length);
}

/** Writes `count` small pictures, and the broken ones asked for. */
async function pictures(
  name: string,
  count: number,
  broken: Record<string, Buffer | string> = {},
): Promise<void> {
  mkdirSync(at(name), { recursive: true });
  for (let i = 0; i < count; i++) {
    const data = Uint8Array.from({ length: 20 * 20 * 3 }, (_, p) => (p * 31 + i * 57) % 256);
    writeFileSync(at(name, `${i}.png`), await encodePng({ data, height: 20, width: 20 }));
  }
  for (const [file, content] of Object.entries(broken)) writeFileSync(at(name, file), content);
}

beforeAll(async () => {
  writeFileSync(
    config,
    `model: { image_size: 16, patch_size: 4, width: 16, heads: 2, depth: 1, registers: 4, predictor: { depth: 1 } }
masking: { predict: 1 }
clustering: { prototypes: 16 }
data: { source: 'synthetic:scenes?size=32' }
train: { steps: 4, batch: 4 }
checkpoint: { every: 2 }
engine: { name: onnx, device: cpu, threads: 1 }
`,
  );
  const jpeg = readFileSync(join(root, 'test/golden/images/small.jpg'));
  const cut = jpeg.subarray(0, jpeg.length / 2);
  await pictures('few-broken', 20, { 'cut.jpg': cut });
  await pictures('many-broken', 6, {
    'cut.jpg': cut,
    'text.png': 'just words\n',
    'empty.webp': '',
    'none.jpg': 'x',
  });
  mkdirSync(at('empty'));
  mkdirSync(at('idx'));
  writeFileSync(
    at('idx', 'train-images-idx3-ubyte'),
    Buffer.from([0, 0, 9, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7]),
  );
  writeFileSync(at('idx', 'train-labels-idx1-ubyte'), Buffer.from([0, 0, 8, 1, 0, 0, 0, 1, 0]));
});

const noCuda = /CUDA provider is not installed.*scripts\/install-cuda-provider\.sh/;
const noTensorflow =
  /the tensorflow engine does not load .*tfjs-node is not installed.*npm install @tensorflow\/tfjs-node-gpu@.*scripts\/build-tfjs-node\.sh/;
const refusals: [what: string, args: string[], code: number, message: RegExp][] = [
  ['a missing folder', ['--data', 'folder:BASE/absent'], 4, /BASE\/absent does not exist/],
  ['an empty folder', ['--data', 'folder:BASE/empty'], 4, /BASE\/empty holds no images/],
  [
    'too many broken images',
    ['--data', 'folder:BASE/many-broken'],
    4,
    /of the 10 images .* more than the allowed share of 0\.01 .*max_bad_share.*(cut\.jpg|text\.png|empty\.webp|none\.jpg)/,
  ],
  [
    'fewer images than a batch',
    ['--data', 'folder:BASE/few-broken', '--set', 'train.batch=64'],
    2,
    /has 21 images, fewer than one batch of 64/,
  ],
  [
    'a wrong IDX magic',
    ['--data', 'idx:BASE/idx'],
    4,
    /train-images-idx3-ubyte is no IDX file .*0x00000903, expected 0x00000803/,
  ],
  [
    'an unknown source',
    ['--data', 'imagenet'],
    2,
    /'imagenet' has no scheme; known sources: synthetic:scenes/,
  ],
  ['an unknown key', ['--set', 'optim.learning_rat=1'], 2, /unknown config key "optim\.learning_rat"/],
  ['a mistyped key', ['--set', 'mask.ratio=0.5'], 2, /did you mean "masking\.ratio"\?/],
  [
    'a wrong value',
    ['--set', 'engine.name=onxx'],
    2,
    /engine\.name is "onxx" .*; accepted: auto \| onnx \| tensorflow \| reference/,
  ],
  [
    'an image that the patch does not divide',
    ['--set', 'model.image_size=18'],
    2,
    /18 is not divisible by model\.patch_size 4; nearest that fits: 16|20/,
  ],
  [
    'a width that the heads do not divide',
    ['--set', 'model.heads=3'],
    2,
    /model\.width 16 is not divisible by model\.heads 3; nearest width that fits: 15/,
  ],
  [
    'registers that four edges do not share',
    ['--set', 'model.registers=3'],
    2,
    /model\.registers is 3.*a multiple of 4/,
  ],
  [
    'no steps',
    ['--steps', '0'],
    2,
    /^--steps: expected an integer greater than or equal to 1 but received: 0; see --help$/,
  ],
  ['an unknown flag', ['--stepz', '3'], 2, /--stepz/],
  ['an engine without the device', ['--engine', 'onnx', '--device', 'cuda'], 2, noCuda],
];

describe('capi pretrain refuses', () => {
  it.each(refusals)('%s', (_, args, code, message) => {
    const result = run('refused', ...args.map((arg) => arg.replace('BASE', base)));
    expect(line(result)).toMatch(new RegExp(message.source.replaceAll('BASE', base)));
    expect(result.code).toBe(code);
    expect(result.stdout).toBe('');
    expect(existsSync(at('refused'))).toBe(false);
  });

  it('an unknown preset, naming the nearest', () => {
    const result = capi(['pretrain', 'quickstrat', '--out', at('refused')]);
    expect(result.code).toBe(2);
    expect(line(result)).toMatch(/^no preset "quickstrat"; did you mean quickstart\?/);
  });

  it('an engine that is not installed, with the line to type', () => {
    // The build in a package of its own, with all dependencies but the bindings of libtensorflow.
    const home = at('without-tensorflow');
    for (const part of ['dist', 'benchmarks/presets'])
      cpSync(join(root, part), join(home, part), { recursive: true });
    cpSync(join(root, 'package.json'), join(home, 'package.json'));
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name === '@tensorflow' || name.startsWith('.')) continue;
      mkdirSync(join(home, 'node_modules'), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), join(home, 'node_modules', name));
    }
    mkdirSync(join(home, 'node_modules/@tensorflow'));
    for (const name of readdirSync(join(root, 'node_modules/@tensorflow'))) {
      if (name.startsWith('tfjs-node')) continue;
      symlinkSync(join(root, 'node_modules/@tensorflow', name), join(home, 'node_modules/@tensorflow', name));
    }
    const choices: [string[], RegExp][] = [
      [['--engine', 'tensorflow'], noTensorflow],
      [['--device', 'cuda', '--set', 'engine.name=auto'], noCuda],
    ];
    for (const [choice, message] of choices) {
      const result = capi(
        ['pretrain', config, '--out', at('refused'), ...choice],
        {},
        join(home, 'dist/src/main.js'),
      );
      expect(line(result)).toMatch(message);
      expect(result.code).toBe(2);
    }
    expect(existsSync(at('refused'))).toBe(false);
  });
});

describe('capi pretrain', () => {
  it('--json prints one object, and a positional may follow --set', () => {
    const result = capi([
      'pretrain',
      '--out',
      at('json'),
      '--json',
      '--set',
      'seed=3',
      '--set',
      'optim.lr=1e-3',
      config,
    ]);
    expect(result.stderr).toBe('');
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toEqual({
      run: at('json'),
      steps: 4,
      images_per_second: expect.any(Number),
      loss: { capi: expect.any(Number), clustering: expect.any(Number) },
      target_entropy: expect.any(Number),
      checkpoint: at('json', 'checkpoints/step-00000004.safetensors'),
      engine: 'onnx',
      device: 'cpu',
      memory: {
        parameters_mib: expect.any(Number),
        state_mib: expect.any(Number),
        activations_mib: expect.any(Number),
      },
      resumed_from: null,
      waiting_share: expect.any(Number),
      skipped_images: 0,
    });
    expect(readFileSync(at('json', 'config.yaml'), 'utf8')).toMatch(/^# identity [\da-f]{64}\nseed: 3\n/);
    const refused = capi(['pretrain', '--json', config, '--set', 'optim.lrr=1']);
    expect(refused.code).toBe(2);
    expect(JSON.parse(refused.stdout).error).toMatchObject({ code: 2, details: { nearest: 'optim.lr' } });
  });

  it('takes as many images at a time as --micro-batch says, if they divide the batch', () => {
    expect(run('micro', '--micro-batch', '2').code).toBe(0);
    expect(readFileSync(at('micro', 'config.yaml'), 'utf8')).toMatch(
      /micro_batch: null\n {2}teacher_micro_batches: 2\n {2}student_micro_batches: 2\n/,
    );
    expect(readFileSync(at('micro', 'log.txt'), 'utf8')).toMatch(
      / memory: parameters [\d.]+ MiB, state [\d.]+ MiB .*activations [\d.]+ MiB .*\(2 of 4 images at a time\)/,
    );
    const refused = run('micro-3', '--micro-batch', '3');
    expect(refused.code).toBe(2);
    expect(line(refused)).toMatch(/train.batch 4 is not divisible by engine.micro_batch 3 .*: 2 and 4$/);
  });

  it('skips a broken image, names and counts it; piped progress is JSON lines', () => {
    const result = run('skips', '--data', `folder:${at('few-broken')}`, '--steps', '6');
    expect(result.code).toBe(0);
    const lines = result.stderr
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    const skips = lines.filter(({ message }) => /unreadable/.test(message));
    expect(skips).toHaveLength(1);
    expect(skips[0].message).toContain(at('few-broken', 'cut.jpg'));
    expect(lines.at(-1)).toMatchObject({ step: 6, steps: 6 });
    expect(result.stdout).toMatch(
      /^trained 6 steps at .*\nrun {8}\S+skips\ncheckpoint \S+step-00000006\.safetensors\n$/,
    );
    expect(readFileSync(at('skips', 'log.txt'), 'utf8')).toMatch(
      /cut\.jpg[\s\S]*finished 6 steps; .*; 1 unreadable images/,
    );
  });

  it('that diverges ends with 3 and names the last good checkpoint', () => {
    const result = run(
      'diverges',
      '--set',
      'optim.lr=1e30',
      '--set',
      'optim.warmup=1',
      '--set',
      'checkpoint.every=1',
      '--set',
      'checkpoint.keep=9',
      '--steps',
      '20',
      '--json',
    );
    expect(result.code).toBe(3);
    const { error } = JSON.parse(result.stdout);
    expect(error.message).toMatch(/^training diverged: NaN or infinity in 6 steps in a row/);
    expect(existsSync(error.details.checkpoint)).toBe(true);
  });
});

describe('a run folder', () => {
  beforeAll(() => {
    expect(run('whole').code).toBe(0);
  });
  const copy = (name: string, without: string[] = []): string => {
    cpSync(at('whole'), at(name), { recursive: true });
    for (const step of without) rmSync(at(name, 'checkpoints', `step-0000000${step}.safetensors`));
    return at(name, 'checkpoints');
  };

  it('with a truncated or damaged checkpoint says what to do', () => {
    const folder = copy('damaged');
    truncateSync(join(folder, 'step-00000004.safetensors'), 5000);
    const cut = run('damaged');
    expect(cut.code).toBe(4);
    expect(line(cut)).toMatch(
      /step-00000004\.safetensors is truncated.*Delete step-00000004\.safetensors and run the same command again/,
    );
    rmSync(join(folder, 'step-00000004.safetensors'));
    const bytes = readFileSync(join(folder, 'step-00000002.safetensors'));
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(join(folder, 'step-00000002.safetensors'), bytes);
    const flipped = run('damaged');
    expect(flipped.code).toBe(4);
    expect(line(flipped)).toMatch(
      /step-00000002\.safetensors is damaged: .*There is no earlier checkpoint beside it/,
    );
  });

  it('of another run, or with foreign files, is refused and stays as it is', () => {
    const before = readdirSync(at('whole'), { recursive: true });
    const other = run('whole', '--seed', '5', '--set', 'masking.ratio=0.5');
    expect(other.code).toBe(2);
    expect(line(other)).toMatch(/what differs: masking\.ratio 0\.65 -> 0\.5; seed 0 -> 5\./);
    expect(readdirSync(at('whole'), { recursive: true })).toEqual(before);
    const foreign = run('few-broken');
    expect(foreign.code).toBe(2);
    expect(line(foreign)).toMatch(/holds files but no run \(0\.png, 1\.png, 10\.png, \.\.\.\)/);
  });

  it('goes on with other threads behind --allow-engine-change, and records it', () => {
    copy('threads', ['4']);
    const refused = run('threads', '--threads', '2');
    expect(refused.code).toBe(2);
    expect(line(refused)).toMatch(/engine\.threads 1 -> 2\. Go on with --allow-engine-change/);
    const result = run('threads', '--threads', '2', '--allow-engine-change', '--json');
    expect(JSON.parse(result.stdout)).toMatchObject({ steps: 4, resumed_from: 2 });
    const { changes } = JSON.parse(readFileSync(at('threads', 'identity.json'), 'utf8'));
    expect(changes).toEqual([{ step: 2, differences: ['engine.threads 1 -> 2'] }]);
  });
});

const disk = at('disk');
const mounted = mountSmallDisk(disk, '1m');
describe.skipIf(!mounted)(
  mounted ? 'a full disk' : `a full disk${reasonMark}root, to mount a small one`,
  () => {
    it('is an error; what was there stays whole', () => {
      const room = run('disk/run', '--set', 'checkpoint.every=1', '--set', 'clustering.prototypes=1024');
      expect(room.code).toBe(4);
      expect(line(room)).toMatch(
        /^disk full: .*step-0000000\d\.safetensors, which needs \d+ bytes\. Free some space/,
      );
      for (const name of readdirSync(join(disk, 'run/checkpoints')))
        expect(name).toMatch(/^step-\d{8}\.safetensors$/);
      rmSync(join(disk, 'run'), { recursive: true });
      writeFileSync(join(disk, 'fill'), Buffer.alloc(2 ** 20));
      const full = run('disk/run');
      expect(full.code).toBe(4);
      expect(line(full)).toMatch(
        /^disk full: cannot write .*(run\.lock|identity\.json)\. Free some space; the same command goes on/,
      );
      expect(readdirSync(disk)).toEqual(['fill']);
      rmSync(join(disk, 'fill'));
      expect(run('disk/run').code).toBe(0);
    });
  },
);

describe('a signal', () => {
  it('while the engine loads writes a checkpoint, says so in one line, and ends with 130', async () => {
    const args = ['pretrain', config, '--steps', '100000', '--out', at('signal')];
    const child = spawn(process.execPath, [join(root, 'dist/src/main.js'), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr === '') child.kill('SIGTERM'); // the first message comes before the engine loads
      stderr += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
    const said = line({ code: 130, stdout: '', stderr });
    const found =
      /^interrupted by SIGTERM at step \d+ of 100000; checkpoint: (\S+)\. The same command goes on$/.exec(
        said,
      );
    expect(existsSync(found![1]!)).toBe(true);
  });
});
