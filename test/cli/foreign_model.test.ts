// Models of anyone's run in a process of their own: the same features, an end to those that never answer, and none that outlives the command.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endless, floats, node, writeEncoder } from '../encoder/models.js';
import { capi, root } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-foreign-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const data = join(folder, 'data');
const good = join(folder, 'good.onnx');
const loop = join(folder, 'loop.onnx');
beforeAll(async () => {
  mkdirSync(data);
  for (let i = 0; i < 3; i++) {
    const raw = Uint8Array.from({ length: 24 * 24 * 3 }, (_, p) => (p * (7 + i)) % 251);
    await sharp(raw, { raw: { width: 24, height: 24, channels: 3 } }).toFile(join(data, `${i}.png`));
  }
  writeEncoder(good);
  writeEncoder(loop, endless);
});

let next = 0;
const viz = (model: string): string[] => {
  const out = join(folder, `v${next++}`);
  return ['eval', 'viz', model, '--data', `folder:${data}`, '--out', out, '--threads', '1'];
};

/** Processes whose parent is `pid`, as Linux tells. */
const childrenOf = (pid: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${child}/status`, 'utf8'))![1]) === pid;
      } catch {
        return false; // it ended meanwhile
      }
    });

const lives = (pid: number): boolean => {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

async function until(what: () => boolean, seconds: number): Promise<boolean> {
  for (let i = 0; i < seconds * 10; i++) {
    if (what()) return true;
    await wait(100);
  }
  return what();
}

describe('a foreign model', () => {
  it('draws from its process', () => {
    const { code, stdout } = capi(viz(good));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/pictures of 3 images/)]);
  });

  it('that never answers is ended when its time is over', () => {
    const begin = performance.now();
    const { code, stderr } = capi(viz(loop), { CAPI_MODEL_SECONDS: '2' });
    expect(stderr).toMatch(
      /loop\.onnx gave no answer within 2 s (on an image of 8 x 8 px|while it was loaded), and was ended; CAPI_MODEL_SECONDS=4/,
    );
    expect(stderr.trim()).not.toContain('\n');
    expect(code).toBe(4);
    expect((performance.now() - begin) / 1000).toBeLessThan(60); // 2 s and a start, on a busy machine
  });

  it('with a limit that is none is refused', () => {
    for (const seconds of ['soon', '0']) {
      const { code, stderr } = capi(viz(good), { CAPI_MODEL_SECONDS: seconds });
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/CAPI_MODEL_SECONDS is '.*'; accepted: seconds/),
      ]);
    }
  });

  it('that asks for more memory than there is ends in one line', () => {
    const big = writeEncoder(join(folder, 'big.onnx'), {
      nodes: [
        node('ConstantOfShape', ['much'], 'filled'),
        node('ReduceMax', ['filled'], 'one', [{ name: 'keepdims', type: 2, i: 0 }]),
        node('Add', ['means', 'one'], 'maps'),
      ],
      initializer: [
        { name: 'much', dims: [1], dataType: 7, rawData: new Uint8Array(BigInt64Array.of(2n ** 42n).buffer) },
      ],
    });
    const { code, stderr } = capi(viz(big));
    expect(stderr.trim()).toMatch(/^error: .*big\.onnx/);
    expect(stderr.trim()).not.toContain('\n');
    expect([2, 4]).toContain(code);
  });

  it('says what onnxruntime says, with its path and the input', () => {
    const bad = writeEncoder(join(folder, 'bad.onnx'), {
      nodes: [node('Add', ['means', 'seven'], 'maps')],
      initializer: [floats('seven', [1, 2, 3, 4, 5, 6, 7])],
    });
    const { code, stderr } = capi(viz(bad));
    expect(stderr).toMatch(/bad\.onnx.*(fails on input x of shape \[1,3,8,8\]|cannot run)/);
    expect([2, 4]).toContain(code);
  });

  const onLinux = existsSync('/proc/self/status') ? it : it.skip;
  onLinux.each(['SIGKILL', 'SIGTERM'] as const)('does not outlive a command that %s ends', async (signal) => {
    const command = spawn(process.execPath, [`${root}dist/src/main.js`, ...viz(loop)], { stdio: 'ignore' });
    try {
      expect(await until(() => childrenOf(command.pid!).length > 0, 60)).toBe(true);
      const [model] = childrenOf(command.pid!);
      await wait(1500); // it is in the loop by now, or will be with nobody to answer
      command.kill(signal);
      expect(await until(() => !lives(command.pid!) && !lives(model!), 30)).toBe(true);
    } finally {
      command.kill('SIGKILL');
    }
  });
});
