// The loop: interrupted and resumed runs end in the same bytes, bad steps have no effect, refused data leaves nothing behind.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../src/checkpoint/file.js';
import type { Engine, Executable } from '../../src/engine/program.js';
import { DataError, DivergedError, InterruptedError, UsageError } from '../../src/errors.js';
import { type ImageSource, openSource } from '../../src/images/index.js';
import type { PretrainResult } from '../../src/pretrain/loop.js';
import { prepareRun } from '../../src/pretrain/prepare.js';
import { logOf, metricsOf, smallConfig, smallRun, temporaryFolder } from './small_run.js';

const base = temporaryFolder();
const whole = join(base, 'whole');
let uninterrupted: PretrainResult;
beforeAll(async () => {
  uninterrupted = await smallRun(whole);
});

async function failure<E extends Error>(
  work: Promise<unknown>,
  kind: new (message: string) => E,
): Promise<E> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(kind);
  return error as E;
}

/** Stops the run by a signal after each of these steps, then lets it end. */
async function stopAndGo(folder: string, stops: number[], ...sets: string[]): Promise<PretrainResult> {
  for (const at of stops) {
    const stop = new AbortController();
    const onStep = ({ step }: { step: number }): void => {
      if (step === at) stop.abort('SIGTERM');
    };
    const error = await failure(smallRun(folder, sets, { signal: stop.signal, onStep }), InterruptedError);
    expect(error.message).toMatch(
      new RegExp(
        `^interrupted by SIGTERM at step ${at} of 10; checkpoint: .*\\d{6}${String(at).padStart(2, '0')}\\.`,
      ),
    );
    expect(existsSync(error.details.checkpoint as string)).toBe(true);
  }
  return smallRun(folder, sets);
}

describe('a run in micro-batches', () => {
  it('has the losses of the whole batch, says what it holds, and is another run to resume', async () => {
    // Without drop path, whose samples are drawn for each micro-batch. The parts differ by the order of float32 sums, 1e-7 a step, which ten steps carry on.
    const still = 'model.drop_path=0';
    const [together, apart] = ['together', 'apart'].map((name) => join(base, name)) as [string, string];
    const a = await smallRun(together, [still]);
    const b = await smallRun(apart, [still, 'engine.micro_batch=2']);
    for (const [i, row] of metricsOf(together).entries()) {
      const other = metricsOf(apart)[i]!;
      for (const key of ['capi_loss', 'clustering_loss', 'gradient_norm'])
        expect(Math.abs(other[key]! / row[key]! - 1), `${key} of step ${i + 1}`).toBeLessThan(1e-4);
    }
    expect(b.memory!.activations_mib!).toBeLessThan(a.memory!.activations_mib!);
    expect(b.memory).toMatchObject({
      parameters_mib: a.memory!.parameters_mib,
      state_mib: a.memory!.state_mib,
    });
    expect(logOf(apart).find((line) => line.startsWith('memory:'))).toMatch(/\(2 of 8 images at a time\)$/);
    const hash = async (...sets: string[]) => (await prepareRun(smallConfig(still, ...sets))).identity.hash;
    const parts = ['engine.teacher_micro_batches=4', 'engine.student_micro_batches=4'];
    expect(await hash('engine.micro_batch=2')).toBe(await hash(...parts));
    const refused = await failure(smallRun(apart, [still, 'engine.micro_batch=4']), UsageError);
    expect(refused.message).toMatch(/engine\.student_micro_batches 4 -> 2.*--allow-engine-change/);
  });
});

const bytes = (result: PretrainResult): Buffer => readFileSync(result.checkpoint);

describe('a run that is stopped and started again', () => {
  it('ends in the bytes and the metrics of the one that was not', async () => {
    const folder = join(base, 'stopped');
    const result = await stopAndGo(folder, [1, 2, 4, 7]);
    expect(result.resumedFrom).toBe(7);
    expect(bytes(result).equals(bytes(uninterrupted))).toBe(true);
    expect(metricsOf(folder)).toEqual(metricsOf(whole));
    expect(metricsOf(folder).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('writes the same bytes whatever folder, health and checkpoint settings say', async () => {
    const folder = join(base, 'deep', 'down');
    const sets = ['health.every=3', 'checkpoint.every=1', 'checkpoint.keep=4', 'health.max_bad_steps=0'];
    const result = await stopAndGo(folder, [3], ...sets);
    expect(bytes(result).equals(bytes(uninterrupted))).toBe(true);
    expect(readdirSync(join(folder, 'checkpoints'))).toHaveLength(4);
    const losses = (of: string) => metricsOf(of).map(({ capi_loss }) => capi_loss);
    expect(losses(folder)).toEqual(losses(whole));
    const looked = metricsOf(folder).filter((line) => 'dead_share' in line);
    expect(looked.map(({ step }) => step)).toEqual([3, 6, 9, 10]);
  });

  it('stops before its first step too, and goes on from there', async () => {
    const folder = join(base, 'early');
    const error = await failure(
      smallRun(folder, [], { signal: AbortSignal.abort('SIGUSR2') }),
      InterruptedError,
    );
    expect(error.details).toEqual({
      step: 0,
      checkpoint: join(folder, 'checkpoints/step-00000000.safetensors'),
    });
    expect(bytes(await smallRun(folder)).equals(bytes(uninterrupted))).toBe(true);
  });

  it('stops while it waits for images that do not come', async () => {
    const folder = join(base, 'waiting');
    const source = await openSource('synthetic:scenes?size=32');
    let reads = 0;
    const stop = new AbortController();
    const slow: ImageSource = {
      ...source,
      read: (i) => {
        if (++reads <= 16) return source.read(i);
        stop.abort('SIGINT');
        return new Promise(() => {});
      },
    };
    const error = await failure(
      smallRun(folder, [], { source: slow, signal: stop.signal }),
      InterruptedError,
    );
    expect(error.details.step).toBe(2);
    expect(bytes(await smallRun(folder)).equals(bytes(uninterrupted))).toBe(true);
  });

  it('forgets the metrics after its checkpoint, and a line that was cut short', async () => {
    const folder = join(base, 'cut');
    const broken = await openSource('synthetic:scenes?size=32');
    let reads = 0;
    const read: ImageSource['read'] = (i) =>
      ++reads <= 48 ? broken.read(i) : Promise.reject(new Error('power failure'));
    await failure(smallRun(folder, [], { source: { ...broken, read } }), Error);
    expect(metricsOf(folder).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    const { appendFileSync } = await import('node:fs');
    appendFileSync(join(folder, 'metrics.jsonl'), '{"step":7,"capi_l');
    const result = await smallRun(folder);
    expect(result.resumedFrom).toBe(4);
    expect(metricsOf(folder)).toEqual(metricsOf(whole));
    expect(bytes(result).equals(bytes(uninterrupted))).toBe(true);
  });
});

describe('a finished run', () => {
  it('is not touched by the same command, which says the same', async () => {
    const files = readdirSync(whole, { recursive: true }).map((name) => join(whole, `${name}`));
    const times = files.map((file) => statSync(file).mtimeMs);
    const again = await smallRun(whole);
    const { imagesPerSecond, waitingShare, resumedFrom, memory, ...numbers } = uninterrupted;
    expect(again).toMatchObject(numbers);
    expect(again.resumedFrom).toBe(10);
    expect(files.map((file) => statSync(file).mtimeMs)).toEqual(times);
  });

  it('has written what happened into log.txt', () => {
    expect(logOf(whole)).toEqual([
      expect.stringMatching(
        /whole: 10 steps of 8 images from synthetic:scenes.* on onnx \(cpu, 1 threads\)$/,
      ),
      expect.stringMatching(
        /^memory: parameters [\d.]+ MiB, state [\d.]+ MiB \(before and after a step\), activations [\d.]+ MiB at their peak \(the whole batch at a time\)$/,
      ),
      expect.stringMatching(/^environment: \{"capi":"\d/),
      ...logOf(whole).filter((line) => line.includes('prototypes are dead')),
      expect.stringMatching(
        /^finished 10 steps; checkpoint: .*step-00000010\.safetensors; 0 unreadable images$/,
      ),
    ]);
    const stopped = logOf(join(base, 'stopped'));
    expect(stopped.filter((line) => line.startsWith('resuming'))).toHaveLength(4);
    expect(stopped.filter((line) => line.startsWith('stopped: interrupted by SIGTERM'))).toHaveLength(4);
  });
});

describe('a run that diverges', () => {
  // The rate is 0 at step 1, so its checkpoint is sound; step 2 takes a step of 1e29 and spoils the state.
  const sets = [
    'optim.lr=1e30',
    'optim.warmup=1',
    'checkpoint.every=1',
    'checkpoint.keep=9',
    'health.max_bad_steps=2',
  ];

  it('skips the bad steps, stops after the allowed number, and names the last good checkpoint', async () => {
    const folder = join(base, 'diverged');
    const error = await failure(smallRun(folder, sets), DivergedError);
    expect(error.exitCode).toBe(3);
    const bad = metricsOf(folder).filter(({ capi_loss }) => capi_loss === null);
    expect(bad).toHaveLength(3);
    const spoilt = bad[0]!.step! - 1;
    expect(error.details).toEqual({
      step: spoilt,
      checkpoint: join(folder, `checkpoints/step-0000000${spoilt - 1}.safetensors`),
    });
    expect(error.message).toContain(
      `NaN or infinity in 3 steps in a row, up to step ${spoilt + 3}; last good checkpoint: ${error.details.checkpoint}`,
    );
    for (const name of readdirSync(join(folder, 'checkpoints'))) {
      const { tensors } = await readCheckpoint(join(folder, 'checkpoints', name));
      for (const { data } of tensors.values())
        expect((data as Float32Array).every(Number.isFinite)).toBe(true);
    }
    expect(logOf(folder).filter((line) => line.includes('had no effect'))).toHaveLength(3);
    expect(logOf(folder).at(-1)).toBe(`stopped: ${error.message}`);
    const again = await failure(smallRun(folder, sets), DivergedError);
    expect(again.message).toBe(error.message);
    expect(metricsOf(folder).filter(({ capi_loss }) => capi_loss === null)).toHaveLength(3);
  });

  it('never writes a state with infinity', async () => {
    const folder = join(base, 'infinite');
    const error = await failure(
      smallRun(folder, ['optim.lr=1e39', 'optim.warmup=0', 'checkpoint.every=1']),
      DivergedError,
    );
    expect(error.message).toMatch(
      /^training diverged: student.* holds NaN or infinity; last good checkpoint: none\./,
    );
    expect(readdirSync(join(folder, 'checkpoints'))).toEqual([]);
  });

  it('goes on after a few bad steps, which changed nothing', async () => {
    const folder = join(base, 'recovers');
    const prepared = await prepareRun(smallConfig());
    const states: Record<string, Float32Array>[] = [];
    const engine: Engine = Object.assign(Object.create(prepared.engine), {
      async load(program: Parameters<Engine['load']>[0]): Promise<Executable> {
        const inner = await prepared.engine.load(program);
        let step = 0;
        return Object.assign(Object.create(inner), {
          async run(inputs: Parameters<Executable['run']>[0], accept?: Parameters<Executable['run']>[1]) {
            const bad = ++step === 3 || step === 4;
            if (!bad) return inner.run(inputs, accept);
            states.push(await inner.getState());
            const coords = inputs.context_coords!.slice().fill(Number.NaN);
            const out = await inner.run({ ...inputs, context_coords: coords }, accept);
            states.push(await inner.getState());
            return out;
          },
        });
      },
    });
    const result = await smallRun(folder, [], { ...prepared, engine });
    expect(states).toHaveLength(4);
    for (const state of states) expect(state).toEqual(states[0]);
    expect(Object.values(states[0]!).every((v) => v.every(Number.isFinite))).toBe(true);
    const losses = metricsOf(folder).map(({ capi_loss }) => capi_loss);
    expect(losses.map((loss) => loss === null)).toEqual([false, false, true, true, ...Array(6).fill(false)]);
    expect(result.step).toBe(10);
    expect(readdirSync(join(folder, 'checkpoints'))).toEqual(
      ['step-00000008.safetensors', 'step-00000010.safetensors'], // none at step 4, which was bad
    );
  });
});

describe('data that is refused', () => {
  it('leaves no folder behind', async () => {
    const folder = join(base, 'never', 'made');
    const source = await openSource('synthetic:scenes?size=32');
    const unreadable: ImageSource = {
      ...source,
      length: 40,
      read: () => Promise.reject(new DataError('torn')),
    };
    const error = await failure(smallRun(folder, [], { source: unreadable }), DataError);
    expect(error.message).toMatch(
      /of the 40 images of .* cannot be read, more than the allowed share of 0\.01/,
    );
    const few = await failure(smallRun(folder, [], { source: { ...source, length: 7 } }), UsageError);
    expect(few.message).toMatch(/has 7 images, fewer than one batch of 8/);
    expect(existsSync(join(base, 'never'))).toBe(false);
  });

  it('is skipped, named and counted while it is within the allowed share', async () => {
    const folder = join(base, 'one-bad');
    const source = await openSource('synthetic:scenes?size=32');
    const read: ImageSource['read'] = (i) =>
      i === 5 ? Promise.reject(new DataError('image 5 is torn')) : source.read(i);
    const messages: string[] = [];
    const result = await smallRun(folder, [], {
      source: { ...source, length: 40, read },
      onMessage: (text) => messages.push(text),
    });
    expect(result.skippedImages).toBe(1);
    expect(messages.filter((text) => text.includes('unreadable'))).toEqual([
      'skipped an unreadable image: image 5 is torn',
    ]);
    expect(logOf(folder)).toContain('skipped an unreadable image: image 5 is torn');
  });
});
