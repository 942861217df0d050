// ONNX files of anyone's: outputs cut as the adapter says, every layout and batch, and misfits named in one line.
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import onnxProto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { engines } from '../support/engines.js';
import { encoderFolder, randomImages } from './support.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };
const folder = encoderFolder();
const engine = await engines[0]!.open();
let next = 0;

interface Made {
  layout?: 'nchw' | 'nhwc';
  bytes?: boolean;
  /** Dimensions of the input's batch and sides; a name is an open one. */
  batch?: number | string;
  side?: number | string;
  external?: boolean;
}

/**
 * A model for patches of 4 x 4 whose features can be worked out by hand: `tokens` [batch, 1 + N, 3] are a token of the maximum of
 * each channel over the image, then the mean of each channel over each patch; `maps` [batch, 3, rows, columns] are the means alone.
 */
function makeModel({
  layout = 'nchw',
  bytes = false,
  batch = 'n',
  side = 'side',
  external = false,
}: Made = {}): string {
  const path = join(folder, `made-${next++}.onnx`);
  const dim = (d: number | string) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d });
  const value = (name: string, elemType: number, dims: (number | string)[]) => ({
    name,
    type: { tensorType: { elemType, shape: { dim: dims.map(dim) } } },
  });
  const ints = (name: string, v: number[]) => ({ name, type: 7, ints: v });
  const int = (name: string, i: number) => ({ name, type: 2, i });
  const node = (opType: string, input: string[], output: string, attribute: object[] = []) => ({
    opType,
    input,
    output: [output],
    attribute,
  });
  const scale = new Uint8Array(Float32Array.of(1).buffer);
  if (external) writeFileSync(`${path}.data`, scale);
  const nodes = [
    node('Cast', ['x'], 'floats', [int('to', 1)]),
    layout === 'nhwc'
      ? node('Transpose', ['floats'], 'planes', [ints('perm', [0, 3, 1, 2])])
      : node('Identity', ['floats'], 'planes'),
    node('Mul', ['planes', 'one'], 'scaled'),
    node('AveragePool', ['scaled'], 'maps', [ints('kernel_shape', [4, 4]), ints('strides', [4, 4])]),
    node('Reshape', ['maps', 'flat'], 'rows'),
    node('Transpose', ['rows'], 'patch', [ints('perm', [0, 2, 1])]),
    node('Reshape', ['scaled', 'flat'], 'pixels'),
    node('ReduceMax', ['pixels'], 'largest', [ints('axes', [2]), int('keepdims', 1)]),
    node('Transpose', ['largest'], 'cls', [ints('perm', [0, 2, 1])]),
    node('Concat', ['cls', 'patch'], 'tokens', [int('axis', 1)]),
  ];
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 13 }],
    graph: {
      name: 'made',
      node: nodes,
      initializer: [
        {
          name: 'flat',
          dims: [3],
          dataType: 7,
          rawData: new Uint8Array(BigInt64Array.of(0n, 3n, -1n).buffer),
        },
        {
          name: 'one',
          dims: [1],
          dataType: 1,
          ...(external
            ? {
                dataLocation: 1,
                externalData: [
                  { key: 'location', value: `made-${next - 1}.onnx.data` },
                  { key: 'offset', value: '0' },
                  { key: 'length', value: '4' },
                ],
              }
            : { rawData: scale }),
        },
      ],
      input: [value('x', bytes ? 2 : 1, layout === 'nchw' ? [batch, 3, side, side] : [batch, side, side, 3])],
      output: [value('tokens', 1, [batch, 'tokens', 3]), value('maps', 1, [batch, 3, 'rows', 'columns'])],
    },
  } as never);
  writeFileSync(path, onnx.ModelProto.encode(model).finish());
  return path;
}

const basis = {
  input: { name: 'x', layout: 'nchw' },
  size: 8,
  patch: 4,
  normalise: { mean: [0, 0, 0], std: [1, 1, 1] },
  outputs: { global: { output: 'tokens', tokens: [0, 1] }, patches: { output: 'tokens', tokens: [1, null] } },
};

function withAdapter(path: string, changes: object = {}): string {
  writeFileSync(`${path}.yaml`, stringify({ ...basis, ...changes }));
  return path;
}

const open = (spec: string, batch = 3) => openFrozen(spec, { engine, batch });
const refusal = (spec: string): Promise<string> =>
  open(spec).then(
    () => 'it opened',
    (error: Error) => error.message,
  );

/** Maximum of each channel over an image, and means over each patch of 4 x 4, worked out from the bytes; scale 0 to 1. */
function byHand(images: Uint8Array, count: number, side: number) {
  const n = side / 4;
  const global = new Float64Array(count * 3);
  const patches = new Float64Array(count * n * n * 3);
  images.forEach((v, i) => {
    const c = i % 3;
    const [x, y] = [Math.floor(i / 3) % side, Math.floor(i / (3 * side)) % side];
    const b = Math.floor(i / (3 * side * side));
    global[b * 3 + c] = Math.max(global[b * 3 + c]!, v / 255);
    patches[((b * n + Math.floor(y / 4)) * n + Math.floor(x / 4)) * 3 + c]! += v / 255 / 16;
  });
  return { global, patches };
}

function close(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  // float32 means of 16 values of at most 1
  for (let i = 0; i < expected.length; i++) expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(1e-6);
}

describe('an ONNX encoder', () => {
  const images = randomImages(3, 8, 8);
  const want = byHand(images, 3, 8);
  const map = { outputs: { patches: { output: 'maps', layout: 'nchw' } } };
  it.each<[string, Made, object]>([
    ['tokens of one output', {}, {}],
    ['rows of bytes', { layout: 'nhwc' }, { input: { name: 'x', layout: 'nhwc' } }],
    ['a batch of 2, called twice', { batch: 2, side: 8 }, {}],
    ['a batch of 5, half empty', { batch: 5 }, {}],
    ['external data', { external: true }, {}],
  ])('gives %s', async (_, made, changes) => {
    const encoder = await open(withAdapter(makeModel(made), changes));
    const { global, patches, registers } = await encoder.run(images);
    close(global!, want.global);
    close(patches, want.patches);
    expect([registers, encoder.registers, encoder.globalWidth, encoder.patchWidth]).toEqual([
      undefined,
      null,
      3,
      3,
    ]);
    await encoder.close();
  });

  it('gives maps, registers, and what its normalisation makes of bytes', async () => {
    const path = withAdapter(makeModel(), {
      normalise: 'imagenet',
      outputs: {
        patches: { output: 'maps', layout: 'nchw' },
        registers: { output: 'tokens', tokens: [1, 3] },
      },
    });
    const encoder = await open(path);
    const { global, patches, registers } = await encoder.run(images);
    expect([global, encoder.globalWidth, encoder.registers]).toEqual([
      undefined,
      null,
      { count: 2, width: 3 },
    ]);
    const normalised = want.patches.map((v, i) => (v - encoder.mean[i % 3]!) / encoder.std[i % 3]!);
    for (let i = 0; i < normalised.length; i++) {
      expect(Math.abs(patches[i]! - normalised[i]!)).toBeLessThan(5e-6); // the same, divided by std of 0.22
    }
    for (let b = 0; b < 3; b++) {
      close(registers!.slice(b * 6, b * 6 + 6), patches.slice(b * 12, b * 12 + 6)); // the first two of four patches
    }
    await encoder.close();
  });

  it('takes raw bytes where the file normalises itself', async () => {
    const encoder = await open(withAdapter(makeModel({ bytes: true }), { normalise: 'bytes', ...map }));
    const { patches } = await encoder.run(images);
    for (const [i, v] of want.patches.entries()) expect(Math.abs(patches[i]! - 255 * v)).toBeLessThan(3e-4);
    expect([encoder.mean, encoder.std]).toEqual([
      [0, 0, 0],
      [1, 1, 1],
    ]);
    await encoder.close();
  });

  it('runs at other sizes where the file does', async () => {
    const encoder = await open(`${withAdapter(makeModel())}?size=16`, 1);
    const picture = randomImages(1, 16, 16);
    close((await encoder.run(picture)).patches, byHand(picture, 1, 16).patches);
    expect(encoder.grid).toEqual({ rows: 4, columns: 4 });
    await encoder.close();
    expect(await refusal(`${withAdapter(makeModel({ side: 8 }))}?size=16`)).toMatch(
      /takes \[n,3,8,8\] \(nchw\), not images of 16 x 16/,
    );
  });

  it('has a hash of file, external data and adapter', async () => {
    const path = withAdapter(makeModel({ external: true }));
    const hash = async (): Promise<string> => (await open(path)).weightsHash;
    const first = await hash();
    expect(await hash()).toBe(first);
    withAdapter(path, { size: 16 });
    expect(await hash()).toBe(first); // the size is the images', as for every encoder
    withAdapter(path, { normalise: 'imagenet' });
    const second = await hash();
    withAdapter(path);
    appendFileSync(`${path}.data`, 'more');
    const third = await hash();
    const other = join(folder, 'other.yaml');
    writeFileSync(other, stringify(basis));
    expect((await open(`${path}?adapter=${other}`)).weightsHash).toBe(third);
    expect(new Set([first, second, third]).size).toBe(3);
  });
});

describe('an adapter that does not fit', () => {
  it('or is not there is named with an example', async () => {
    expect(await refusal(makeModel())).toMatch(
      /needs an adapter, .*\.onnx\.yaml, that says its input and outputs; for example \{input/,
    );
    expect(await refusal(join(folder, 'absent.onnx'))).toMatch(/no encoder .*absent\.onnx/);
  });

  it.each<[string, object, RegExp]>([
    ['input', { input: { name: 'y', layout: 'nchw' } }, /it has no input y; it has x$/],
    ['output', { outputs: { patches: 'z' } }, /it has no output z; it has tokens, maps$/],
    ['number of tokens', { outputs: { patches: 'tokens' } }, /gives 5 tokens of 5, the grid of 2 x 2 has 4$/],
    [
      'tokens beyond the end',
      { outputs: { patches: { output: 'tokens', tokens: [1, 9] } } },
      /outputs\.patches\.tokens is \[1, 9\], output tokens has 5 tokens/,
    ],
    [
      'a global of many tokens',
      { outputs: { global: 'tokens', patches: { output: 'tokens', tokens: [1, null] } } },
      /outputs\.global gives 5 tokens of output tokens; it is one/,
    ],
    [
      'map without layout',
      { outputs: { patches: 'maps' } },
      /outputs\.patches\.layout must say nhwc or nchw/,
    ],
    [
      'map of another layout',
      { outputs: { patches: { output: 'maps', layout: 'nhwc' } } },
      /has shape \[1,3,2,2\], which is no nhwc map of 2 x 2/,
    ],
    ['bytes', { normalise: 'bytes' }, /input x is float32, normalise bytes gives uint8/],
    ['patch', { patch: 3 }, /the height 8 is not divisible by its patch 3; nearest that fits: 9/],
    ['missing key', { patch: undefined }, /patch is missing; accepted: a whole number of at least 1/],
    ['unknown key', { mean: 1 }, /unknown key mean in adapter/],
    [
      'unknown key inside',
      { outputs: { patches: { output: 'maps', token: 1 } } },
      /unknown key token in outputs\.patches/,
    ],
    [
      'wrong tokens',
      { outputs: { patches: { output: 'tokens', tokens: [3, 1] } } },
      /outputs\.patches\.tokens is \[3,1\]; accepted: tokens \[first, end\) with end above first/,
    ],
    [
      'wrong layout',
      { input: { name: 'x', layout: 'chw' } },
      /input\.layout is "chw"; accepted: nchw or nhwc/,
    ],
    [
      'wrong normalisation',
      { normalise: { mean: [0, 0, 0], std: [1, 0, 1] } },
      /normalise\.std is \[1,0,1\]; accepted: \[r, g, b\] above 0/,
    ],
    ['word for a normalisation', { normalise: 'image' }, /normalise is "image"; accepted: imagenet, \{mean/],
  ])('%s', async (_, changes, message) => {
    const text = await refusal(withAdapter(makeModel(), changes));
    expect(text).toMatch(message);
    expect(text).not.toContain('\n');
  });

  it('to bytes that are no model, or lack their data', async () => {
    const path = join(folder, 'text.onnx');
    writeFileSync(path, 'not a model');
    expect(await refusal(withAdapter(path))).toMatch(
      /text\.onnx is no ONNX file|onnxruntime cannot run .*text\.onnx/,
    );
  });
});
