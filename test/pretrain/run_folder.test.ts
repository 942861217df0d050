// Run folders: whose they are, what makes a command refuse one, and files that are whole or absent.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { unseal } from '../../src/base/files/seal.js';
import { writeText } from '../../src/base/files/write.js';
import { writeCheckpoint } from '../../src/checkpoint/file.js';
import { latestCheckpoint } from '../../src/checkpoint/folder.js';
import { type Config, identity } from '../../src/config/index.js';
import { DataError, UsageError } from '../../src/errors.js';
import { Metrics, reportAt, type StepReport } from '../../src/pretrain/metrics.js';
import { checkRunFolder, claimRunFolder, holdRunFolder, RunLog } from '../../src/pretrain/run_folder.js';
import { checkpointOf, readState, startState } from '../../src/pretrain/state.js';
import { environment } from '../../src/results/environment.js';
import { reasonMark } from '../support/marks.js';
import { mountSmallDisk, unmount } from '../support/small_disk.js';
import { smallConfig, temporaryFolder } from './small_run.js';

const base = temporaryFolder();
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(base, `run-${++count}`);
});

const who = (...sets: string[]) => identity(smallConfig(...sets), { dataIdentity: 'd' });
const refuse = { allowEngineChange: false };
const allow = { allowEngineChange: true };

async function claim(run: ReturnType<typeof who>, options = refuse, step = 0): Promise<string[]> {
  const state = await checkRunFolder(folder, run, options);
  await claimRunFolder(folder, state, step);
  return state.engineChanges;
}

async function failure(work: Promise<unknown>): Promise<Error & { details?: Record<string, unknown> }> {
  return work.then(
    () => expect.fail('it should have thrown'),
    (error: Error) => error,
  );
}

describe('a folder', () => {
  it('is looked at without a trace, and claimed with its identity', async () => {
    await checkRunFolder(folder, who(), refuse);
    expect(existsSync(folder)).toBe(false);
    await claim(who());
    const text = readFileSync(join(folder, 'identity.json'), 'utf8');
    expect(unseal('identity.json', text)).toEqual({
      value: { schema: 2, ...who(), changes: [] },
      seal: 'intact',
    });
    expect(readdirSync(folder)).toEqual(['identity.json']);
    expect(await claim(who('health.every=7', 'checkpoint.keep=5'))).toEqual([]);
  });

  it('of another run is refused with the keys that differ, and stays as it is', async () => {
    await claim(who());
    const before = readFileSync(join(folder, 'identity.json'));
    const error = await failure(claim(who('optim.lr=0.5', 'seed=3', 'engine.threads=2'), allow));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain(
      `${folder} holds another run; what differs: engine.threads 1 -> 2; optim.lr 0.001 -> 0.5; seed 0 -> 3.`,
    );
    expect(error.details!.differences).toHaveLength(3);
    expect(readFileSync(join(folder, 'identity.json'))).toEqual(before);
  });

  it('takes another engine only behind the flag, and records when and what', async () => {
    await claim(who());
    const error = await failure(claim(who('engine.threads=2')));
    expect(error.message).toMatch(/what differs: engine\.threads 1 -> 2\. Go on with --allow-engine-change/);
    expect(await claim(who('engine.threads=2'), allow, 40)).toEqual(['engine.threads 1 -> 2']);
    expect(await claim(who('engine.threads=2', 'engine.name=reference'), allow, 60)).toHaveLength(1);
    const { changes, hash } = JSON.parse(readFileSync(join(folder, 'identity.json'), 'utf8'));
    expect(hash).toBe(who('engine.threads=2', 'engine.name=reference').hash);
    expect(changes).toEqual([
      { step: 40, differences: ['engine.threads 1 -> 2'] },
      { step: 60, differences: ['engine.name "onnx" -> "reference"'] },
    ]);
    expect(await claim(who('engine.threads=2', 'engine.name=reference'))).toEqual([]);
  });

  it('with files of somebody else is refused', async () => {
    mkdirSync(folder);
    for (const name of ['a.txt', 'b.txt', 'c.txt', 'd.txt']) writeFileSync(join(folder, name), 'mine');
    const error = await failure(claim(who()));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(
      /holds files but no run \(a\.txt, b\.txt, c\.txt, \.\.\.\): choose another folder/,
    );
    folder = join(folder, 'a.txt');
    expect((await failure(claim(who()))).message).toMatch(/a\.txt cannot be a run folder: it is a file/);
  });

  it('that a kill left while it was claimed is claimed again', async () => {
    mkdirSync(folder);
    writeFileSync(join(folder, 'identity.json.partial'), '{"hash": "12');
    await claim(who());
    expect(readdirSync(folder)).toEqual(['identity.json']);
  });

  it.each(['{"hash": ', 'null', '{"hash": "1"}', '[]'])('with the identity %s is damaged', async (text) => {
    mkdirSync(folder);
    writeFileSync(join(folder, 'identity.json'), text);
    const error = await failure(claim(who()));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(/identity\.json is damaged \(.*\): restore it, or choose another folder/);
  });

  it('is gone again where a process held it and wrote nothing, and stays where it was there', async () => {
    const deep = join(folder, 'a', 'b');
    const lock = await holdRunFolder(deep);
    expect(readdirSync(deep)).toEqual(['run.lock']);
    expect((await failure(holdRunFolder(deep))).message).toMatch(
      /a\/b is in use by process \d+ on .* \(capi pretrain\), since .* UTC: wait until it ends, or choose/,
    );
    await checkRunFolder(deep, who(), refuse); // a lock is no foreign file
    await lock.release();
    expect(existsSync(folder)).toBe(false);
    mkdirSync(folder);
    await (await holdRunFolder(folder)).release();
    expect(readdirSync(folder)).toEqual([]);
  });
});

const disk = join(base, 'disk');
const mounted = mountSmallDisk(disk, '256k');
afterAll(() => {
  if (mounted) unmount(disk);
});

/** Fills the disk to its last byte; returns what makes space again. */
function fillDisk(): () => void {
  const fill = join(disk, 'fill');
  for (let size = 2 ** 18; size >= 1; size /= 2) {
    try {
      appendFileSync(fill, Buffer.alloc(size));
    } catch {
      // less fits, perhaps
    }
  }
  return () => rmSync(fill);
}

describe.skipIf(!mounted)(
  mounted ? 'a full disk' : `a full disk${reasonMark}root, to mount a small one`,
  () => {
    beforeEach(() => {
      for (const name of readdirSync(disk)) rmSync(join(disk, name), { recursive: true });
      folder = join(disk, 'run');
    });

    it('leaves no folder and no lock where a run is to begin; with space it begins', async () => {
      const space = fillDisk();
      const lock = await failure(holdRunFolder(folder));
      expect(lock).toBeInstanceOf(DataError);
      expect(lock.message).toMatch(
        /^disk full: cannot write .*run\.lock\. Free some space; the same command goes on/,
      );
      expect((await failure(claim(who()))).message).toMatch(
        /^disk full: cannot write .*identity\.json\. Free some/,
      );
      expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
      space();
      const held = await holdRunFolder(folder);
      await claim(who());
      await held.release();
      expect(readdirSync(folder)).toEqual(['identity.json']);
    });

    it('leaves the old file whole where one is written again, and no partial file', async () => {
      mkdirSync(folder);
      const file = join(folder, 'config.yaml');
      await writeText(file, 'old\n');
      const space = fillDisk();
      const error = await failure(writeText(file, 'new\n'.repeat(5000)));
      expect(error.message).toMatch(/^disk full: cannot write .*config\.yaml\. Free some space/);
      expect(readFileSync(file, 'utf8')).toBe('old\n');
      expect(readdirSync(folder)).toEqual(['config.yaml']);
      space();
      await writeText(file, 'new\n');
      expect(readFileSync(file, 'utf8')).toBe('new\n');
    });
  },
);

describe('files', () => {
  it('the environment names the versions, and the commit of this checkout', () => {
    const e = environment({ name: 'onnx', device: 'cpu', threads: 3, version: '9.9' });
    expect(e.capi).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version);
    expect(e).toMatchObject({ node: process.version, engineVersion: '9.9', threads: 3 });
    const commit = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();
    expect(e.commit?.replace('+changes', '')).toBe(commit);
  });

  it('the log keeps early messages, dates every line, and stops nobody when it cannot be written', () => {
    const told: string[] = [];
    const log = new RunLog((text) => told.push(text));
    log.info('one');
    log.debug('two');
    mkdirSync(folder);
    log.open(folder);
    log.info('three');
    const lines = readFileSync(join(folder, 'log.txt'), 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => line.split(' ')[1])).toEqual(['one', 'two', 'three']);
    for (const line of lines)
      expect(Math.abs(Date.parse(line.split(' ')[0]!) - Date.now())).toBeLessThan(60_000);
    expect(told).toEqual(['one', 'three']);
    log.open(join(folder, 'absent'));
    expect(() => log.info('four')).not.toThrow();
  });
});

describe('metrics', () => {
  const report = (step: number, loss = step): StepReport => ({
    step,
    steps: 9,
    capiLoss: loss,
    clusteringLoss: 2,
    targetEntropy: 3,
    gradientNorm: 4,
    imagesPerSecond: 5.123456789,
    waitingShare: 0,
    secondsLeft: 0,
  });
  const rates = { lr: 0.1, clusteringLr: 0.2, momentum: 0.3 };

  it('are cut back to the step of the checkpoint, with the bad steps before it counted', async () => {
    mkdirSync(folder);
    const first = await Metrics.open(folder, 0);
    for (const step of [1, 2, 3, 4, 5])
      first.write(report(step, [3, 4].includes(step) ? Number.NaN : step), rates);
    first.close();
    expect(first.badSteps).toBe(0);
    const text = readFileSync(join(folder, 'metrics.jsonl'), 'utf8');
    const again = await Metrics.open(folder, 4);
    expect(again.badSteps).toBe(2);
    again.write(report(5), rates);
    again.close();
    expect(readFileSync(join(folder, 'metrics.jsonl'), 'utf8')).toBe(text); // byte for byte
    expect(await reportAt(folder, 6, 6)).toBeUndefined();
    expect(await reportAt(folder, 5, 5)).toMatchObject({ step: 5, capiLoss: 5, imagesPerSecond: 5.12346 });
    (await Metrics.open(folder, 3)).close();
    expect((await reportAt(folder, 3, 3))!.capiLoss).toBeNaN();
  });
});

describe('the state in a checkpoint', () => {
  const config: Config = smallConfig();
  const write = async (step: number, state = startState(config), run = who()) =>
    writeCheckpoint(folder, step, checkpointOf(state, config, run), 9);
  const read = async () => readState((await latestCheckpoint(folder))!, config, who());

  it('comes back bit for bit', async () => {
    mkdirSync(folder);
    const state = Object.fromEntries(
      // Not the initial values, which reading could invent.
      Object.entries(startState(config)).map(([name, v]) => [
        name,
        name.endsWith('rope.freqs') ? v : v.map((x) => x + 1),
      ]),
    );
    await write(5, state);
    expect(await read()).toEqual(state);
  });

  it('of another run is refused with the keys that differ; of another engine it is not', async () => {
    mkdirSync(folder);
    await write(5, startState(config), who('seed=7', 'engine.threads=2'));
    const error = await failure(read());
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(
      /step-00000005\.safetensors is of another run; what differs: seed 7 -> 0\./,
    );
    await write(6, startState(config), who('engine.threads=2'));
    expect(Object.keys(await read())).toEqual(Object.keys(startState(config)));
  });

  it('must fit the model, its file name and the rotary frequencies', async () => {
    mkdirSync(folder);
    const broken = (name: string, change: (v: Float32Array) => Float32Array) => {
      const state = startState(config);
      return { ...state, [name]: change(state[name]!) };
    };
    const rope = Object.keys(startState(config)).find((name) => name.endsWith('rope.freqs'))!;
    await write(
      1,
      broken(rope, (v) => v.map((x) => 2 * x)),
    );
    expect((await failure(read())).message).toContain(`${rope} differs from the frequencies`);
    const { path } = await write(2);
    const other = smallConfig('clustering.prototypes=8');
    const wrong = failure(readState({ step: 2, path }, other, who()));
    expect((await wrong).message).toMatch(
      /does not fit the model: \S+ should be float32 \[8,1\], it is F32 \[16,1\]/,
    );
    const renamed = failure(readState({ step: 3, path }, config, who()));
    expect((await renamed).message).toMatch(/holds step 2, not what its name says/);
  });
});
