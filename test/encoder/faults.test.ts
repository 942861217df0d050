// Encoders that are not what they seem: features that are not finite or not the same twice, and ONNX files whose weights are not where they should be.
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { finiteFeatures } from '../../src/encoder/finite.js';
import type { FrozenEncoder } from '../../src/encoder/frozen.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { testSelf } from '../../src/encoder/self_test.js';
import { DataError, EngineError } from '../../src/errors.js';
import { engines } from '../support/engines.js';
import { external, floats, graphOf, int, node, tensorOf, value, whole, writeEncoder, yes } from './models.js';
import { encoderFolder, randomImages } from './support.js';

const folder = encoderFolder();
const engine = await engines[0]!.open();
let next = 0;
const fresh = (): string => join(folder, `m${next++}.onnx`);
const refusal = (spec: string): Promise<Error> =>
  openFrozen(spec, { engine, batch: 3 }).then(
    async (encoder) => {
      await encoder.close();
      throw new Error('it opened');
    },
    (error) => error,
  );

describe('features that are not finite', () => {
  const encoder = (
    change: (f: { patches: Float32Array; global: Float32Array; registers: Float32Array }) => void,
  ) =>
    ({
      name: 'e\n.onnx',
      batch: 4,
      size: { height: 8, width: 8 },
      run: async () => {
        const found = {
          patches: new Float32Array(48),
          global: new Float32Array(8),
          registers: new Float32Array(24),
        };
        change(found);
        return found;
      },
    }) as unknown as FrozenEncoder;
  const run = (e: FrozenEncoder, count: number) =>
    finiteFeatures(e, new Uint8Array(), count, (i) => `image ${i}`);

  it.each<[string, 'patches' | 'global' | 'registers', number, number, RegExp]>([
    [
      'the first patch',
      'patches',
      0,
      Number.NaN,
      /e\\n\.onnx gives NaN for image image 0: 1 of the 12 values of its patches/,
    ],
    ['the last patch that is used', 'patches', 35, Number.NaN, /NaN for image image 2: 1 of the 12/],
    [
      'the global vector',
      'global',
      3,
      Number.POSITIVE_INFINITY,
      /infinity for image image 1: 1 of the 2 values of its global/,
    ],
    [
      'a register',
      'registers',
      17,
      Number.NEGATIVE_INFINITY,
      /infinity for image image 2: 1 of the 6 values of its registers/,
    ],
    [
      'a value whose square overflows',
      'patches',
      13,
      -1e38,
      /gives -1\.0e\+38 for image image 1 \(in its patches\): squares of such values overflow/,
    ],
  ])('in %s name encoder and image', async (_, part, at, bad, message) => {
    await expect(
      run(
        encoder((f) => f[part].fill(bad, at, at + 1)),
        3,
      ),
    ).rejects.toThrow(message);
    await expect(
      run(
        encoder((f) => f[part].fill(bad, at, at + 1)),
        3,
      ),
    ).rejects.toBeInstanceOf(DataError);
  });

  it('in padding are nobody’s', async () => {
    const found = await run(
      encoder((f) => f.patches.fill(Number.NaN, 36)),
      3,
    );
    expect(found.patches.length).toBe(48);
  });

  it('what a run throws gets the images and their size', async () => {
    const failing = { ...encoder(() => {}), run: () => Promise.reject(new EngineError('no memory')) };
    await expect(run(failing as FrozenEncoder, 3)).rejects.toThrow(
      'no memory (encoder e\\n.onnx, 3 images of 8 x 8 px: image 0 to image 2)',
    );
  });
});

describe('an encoder that disagrees with itself', () => {
  const random = [node('RandomNormalLike', ['means'], 'noise'), node('Add', ['means', 'noise'], 'maps')];
  const norm = (training: number) => [
    {
      ...node('BatchNormalization', ['means', 'ones', 'zeros', 'zeros', 'ones'], 'maps', [
        int('training_mode', training),
      ]),
      output: training ? ['maps', 'm', 'v'] : ['maps'],
    },
  ];
  const statistics = [floats('ones', [1, 1, 1]), floats('zeros', [0, 0, 0])];
  const dropout = (ratio: number) => ({
    nodes: [node('Dropout', ['means', 'ratio', 'train'], 'maps')],
    initializer: [floats('ratio', [ratio], []), yes('train')],
  });

  it.each<[string, Parameters<typeof writeEncoder>[1], RegExp]>([
    ['noise', { nodes: random }, /given twice differ by \d+ %.*its graph has 1 RandomNormalLike\. Export/],
    [
      'statistics of the batch',
      { nodes: norm(1), initializer: statistics },
      /disagrees with itself: .*BatchNormalization in training mode/,
    ],
    ['dropout', dropout(0.4), /given twice.*1 Dropout with a training mode/],
    ['a little dropout', dropout(0.1), /disagrees with itself/],
    [
      'the mean of the batch',
      {
        nodes: [
          node('ReduceMean', ['means'], 'mean', [{ name: 'axes', type: 7, ints: [0] }, int('keepdims', 1)]),
          node('Sub', ['means', 'mean'], 'maps'),
        ],
      },
      /beside three others \(root/,
    ],
    [
      'the mirrored batch',
      {
        nodes: [
          node('Slice', ['means', 'last', 'first', 'axis', 'back'], 'mirrored'),
          node('Sub', ['means', 'mirrored'], 'apart'),
          node('Add', ['means', 'apart'], 'maps'),
        ],
        initializer: [whole('last', [-1]), whole('first', [-1000]), whole('axis', [0]), whole('back', [-1])],
      },
      /beside three others \(root/,
    ],
    [
      'the order of a fixed batch',
      { batch: 2, nodes: [node('CumSum', ['means', 'axis'], 'maps')], initializer: [whole('axis', [0], [])] },
      /disagrees with itself/,
    ],
  ])('by %s is refused with the difference', async (_, parts, message) => {
    const error = await refusal(writeEncoder(fresh(), parts));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
  });

  it('may be odd all the same, which is noted', async () => {
    const nodes = [node('Sub', ['means', 'means'], 'maps')];
    const constant = await openFrozen(writeEncoder(fresh(), { nodes }), { engine, batch: 3 });
    expect(constant.notes).toEqual([expect.stringContaining('the same for three images')]);
    await constant.close();
  });

  it.each<[string, Parameters<typeof writeEncoder>[1]]>([
    ['statistics of its training', { nodes: norm(0), initializer: statistics }],
    ['dropout of nothing', dropout(0)],
    ['a fixed batch', { batch: 3 }],
    [
      'the same features for every image',
      {
        nodes: [node('Mul', ['means', 'zero'], 'm0'), node('Add', ['m0', 'five'], 'maps')],
        initializer: [floats('zero', [0]), floats('five', [5])],
      },
    ],
    [
      'half precision inside',
      {
        nodes: [
          node('Cast', ['means'], 'half', [int('to', 10)]),
          node('Cast', ['half'], 'maps', [int('to', 1)]),
        ],
      },
    ],
  ])('no: %s', async (_, parts) => {
    const encoder = await openFrozen(writeEncoder(fresh(), parts), { engine, batch: 3 });
    expect((await encoder.run(randomImages(3, 8, 8))).patches.length).toBe(36);
    await encoder.close();
  });

  it('is found at differences above rounding alone, of 32 bits and of 16', async () => {
    const test = (noise: number, reduced: boolean) => {
      let calls = 0;
      return testSelf({
        name: 'x',
        size: { height: 8, width: 8 },
        reduced,
        suspects: [],
        run: async (images, n) => {
          calls++;
          const patches = Float32Array.from({ length: 64 * n }, (_, i) => images[3 * i]! / 255);
          return { patches: patches.map((v, i) => v + noise * Math.sin(i + 100 * calls)) };
        },
      });
    };
    // Features of standard deviation about 0.3: rounding of float32 adds 1e-5 at most, of bfloat16 some 4e-3.
    await test(1e-5, false);
    await test(4e-3, true);
    await expect(test(4e-3, false)).rejects.toThrow(/rounding stays below 0\.20 %/);
    await expect(test(0.1, true)).rejects.toThrow(/rounding stays below 3\.0 %/);
  });
});

describe('external data', () => {
  const scaled = (tensor: object) => ({
    nodes: [node('Mul', ['means', 'scale'], 'maps')],
    initializer: [tensor],
  });
  const good = { location: 'weights.bin', offset: '0', length: '4' };
  writeFileSync(join(folder, 'weights.bin'), new Uint8Array(Float32Array.of(2).buffer));
  mkdirSync(join(folder, 'folder'));
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  symlinkSync('/dev/zero', join(folder, 'zero'));

  it.each<[string, object, RegExp]>([
    [
      'is not there',
      { ...good, location: 'absent.bin' },
      /keeps tensor scale in absent\.bin, which is not there/,
    ],
    ['is a pipe', { ...good, location: 'pipe' }, /in pipe, which is no plain file/],
    ['is a device', { ...good, location: 'zero' }, /in zero, which is no plain file/],
    ['is a folder', { ...good, location: 'folder' }, /in folder, which is no plain file/],
    ['lies above', { ...good, location: '../weights.bin' }, /not beside it/],
    ['lies above, on a detour', { ...good, location: 'folder/../../weights.bin' }, /not beside it/],
    ['lies elsewhere', { ...good, location: '/etc/passwd' }, /not beside it/],
    ['has no name', { offset: '0' }, /a file without a name/],
    ['ends too early', { ...good, offset: '2' }, /at bytes 2 to 6; the file has 4/],
    ['has another length', { ...good, length: '8' }, /takes 4 bytes, its external data has 8/],
    ['has a negative offset', { ...good, offset: '-4' }, /the offset '-4'/],
  ])('that %s is refused before it is opened', async (_, entries, message) => {
    const error = await refusal(writeEncoder(fresh(), scaled(external('scale', [1], entries as never))));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(message);
  });

  it.each([
    ['negative', [-1]],
    ['beyond counting', [2 ** 40, 2 ** 40]],
  ])('and sizes that are %s too', async (_, dims) => {
    const error = await refusal(writeEncoder(fresh(), scaled({ ...floats('scale', [1]), dims })));
    expect(error.message).toMatch(/is damaged: tensor scale has the sizes \[/);
  });

  const constant = (t: object) => [
    node('Constant', [], 'scale', [tensorOf('value', t)]),
    node('Mul', ['means', 'scale'], 'maps'),
  ];
  const branch = (t: object) => {
    const inner = (name: string, sub: object) =>
      graphOf(name, {
        name,
        node: [node('Mul', ['means', 's'], `${name}out`)],
        initializer: [sub],
        output: [value(`${name}out`, 1, ['a', 'b', 'c', 'd'])],
      });
    return [node('If', ['yes'], 'maps', [inner('then_branch', t), inner('else_branch', floats('s', [1]))])];
  };
  it.each<[string, (t: object) => Parameters<typeof writeEncoder>[1], string]>([
    ['an initialiser', scaled, 'scale'],
    ['a constant', (t) => ({ nodes: constant(t) }), 'scale'],
    ['a branch', (t) => ({ nodes: branch(t), initializer: [yes('yes')] }), 's'],
    [
      'a sparse initialiser',
      (t) => ({ sparseInitializer: [{ values: t, indices: whole('scale_indices', [0]), dims: [1] }] }),
      'scale',
    ],
  ])('of %s is part of the hash, and looked at', async (_, parts, name) => {
    const { modelFacts } = await import('../../src/engine/onnx/external.js');
    const { readFileSync } = await import('node:fs');
    const path = writeEncoder(fresh(), parts(external(name, [1], good)));
    expect((await modelFacts(path, readFileSync(path))).files).toEqual(['weights.bin']);
    const error = await refusal(
      writeEncoder(fresh(), parts(external(name, [1], { ...good, location: 'pipe' }))),
    );
    expect(error.message).toMatch(/no plain file/);
  });

  it('of a constant and of a branch changes the hash when its bytes change', async () => {
    for (const nodes of [constant, branch]) {
      const hash = async (scale: number): Promise<string> => {
        writeFileSync(join(folder, 'own.bin'), new Uint8Array(Float32Array.of(scale).buffer));
        const t = external(nodes === branch ? 's' : 'scale', [1], { ...good, location: 'own.bin' });
        const path = writeEncoder(join(folder, `hash-${nodes.name}.onnx`), {
          nodes: nodes(t),
          initializer: [yes('yes')],
        });
        const encoder = await openFrozen(path, { engine, batch: 1 }).catch((error) => error);
        if (encoder instanceof Error) return encoder.message; // onnxruntime does not read external data everywhere
        await encoder.close();
        return encoder.weightsHash;
      };
      const [two, three] = [await hash(2), await hash(3)];
      if (/^[0-9a-f]{64}$/.test(two)) expect(three).not.toBe(two);
      else expect(two).toMatch(/onnxruntime cannot run/);
    }
  });
});
