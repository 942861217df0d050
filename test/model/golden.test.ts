// Parity of the forward tensors with the official code: encoder, predictor, head, Sinkhorn, evaluation, drop path.
import { describe, expect, it } from 'vitest';
import { encoderParameters, encoderProgram } from '../../src/encoder/program.js';
import type { Program, Values } from '../../src/engine/program.js';
import { embedPatches, encode, predict } from '../../src/model/encoder.js';
import { HEAD, normalisedHead } from '../../src/model/fold.js';
import { headOutputs } from '../../src/model/head.js';
import { EMA, STUDENT, studentShapes } from '../../src/model/parameters.js';
import { patchesFromPlanes } from '../../src/model/patches.js';
import {
  maskInputs,
  patchCoordinates,
  unitRegisterCoordinates,
  wholeImageCoordinates,
} from '../../src/model/positions.js';
import { modelSizes } from '../../src/model/sizes.js';
import { clusteringLogits } from '../../src/teacher/clustering.js';
import { sinkhorn } from '../../src/teacher/sinkhorn.js';
import { rotary, rotaryTable } from '../../src/tensor/ops/index.js';
import { type Tensor, tf } from '../../src/tensor/tf.js';
import { onEveryEngine } from '../support/engines.js';
import { byImage, reference, referenceConfig, relativeError, tensors } from '../support/golden.js';

const c = reference.config;
const s = modelSizes(referenceConfig());
const [weights, batch, forward, dropPath] = await Promise.all(
  ['weights', 'batch', 'forward', 'drop_path'].map((f) => tensors(`${f}.safetensors`)),
);
const f32 = (x: ArrayLike<number>): Float32Array => Float32Array.from(x);
const want = (name: string): ArrayLike<number> => forward!.get(name)!.data;
const masks = maskInputs(
  s,
  c.batch,
  Int32Array.from(batch!.get('visible_indices')!.data),
  Int32Array.from(batch!.get('predict_indices')!.data),
);
const visible = masks.visible_rows.length / c.batch;
const predicted = masks.predict_rows.length / c.batch;

describe('coordinates', () => {
  it('of patches, visible tokens and registers are the official ones', () => {
    const all = patchCoordinates(s.gridHeight, s.gridWidth);
    expect(relativeError(all, f32(want('coords_all')).slice(0, all.length))).toBeLessThan(1e-6);
    const visibleWant = want('student.coords_visible');
    const ours = byImage(masks.context_coords, s.registers + visible, c.batch);
    expect(relativeError(ours, visibleWant)).toBeLessThan(1e-6);
    const edge = unitRegisterCoordinates(s.registers, s.registerCoordinates);
    expect(relativeError(edge, want('register_edge_coords'))).toBeLessThan(1e-6);
    const whole = wholeImageCoordinates(s);
    expect(
      relativeError(whole, f32(want('teacher_like.coords_with_registers')).slice(0, whole.length)),
    ).toBeLessThan(1e-6);
  });
});

/** Student forward with every intermediate that the reference holds; `kept` as drop_path.safetensors has it. */
function forwardProgram(kept?: number[][]): Program {
  const inputs: Program['inputs'] = { images: { shape: [c.batch, 3, s.height, s.width], dtype: 'float32' } };
  for (const [n, shape] of Object.entries(studentShapes(s))) inputs[n] = { shape, dtype: 'float32' };
  inputs.visible_rows = { shape: [visible * c.batch], dtype: 'int32' };
  inputs.context_coords = { shape: [(s.registers + visible) * c.batch, 2], dtype: 'float32' };
  inputs.predict_coords = { shape: [predicted * c.batch, 2], dtype: 'float32' };
  return {
    name: kept ? 'student_forward_drop_path' : 'student_forward',
    inputs,
    state: [],
    run: (i) => {
      const pixels = tf.gather(patchesFromPlanes(i.images!, s, c.batch), i.visible_rows as never) as Tensor;
      const keptSamples = kept?.map((k) => {
        const inverse = Array.from({ length: c.batch }, (_, b) => (k.includes(b) ? k.indexOf(b) : k.length));
        return { kept: tf.tensor1d(k, 'int32'), inverse: tf.tensor1d(inverse, 'int32') };
      });
      const run = keptSamples ? { kept: keptSamples } : {};
      const context = encode(i, s, c.batch, pixels, i.context_coords!, run);
      const predictions = predict(
        i,
        s,
        c.batch,
        predicted,
        context,
        i.predict_coords!,
        i.context_coords!,
        run,
      );
      const head = normalisedHead(i['head.last_layer.weight_v']!, i['head.last_layer.weight_g']!);
      return {
        embedded: embedPatches(i, pixels),
        patches: tf.slice(context, [s.registers * c.batch, 0], [visible * c.batch, s.dim]),
        predictions,
        head,
        logits: headOutputs({ [HEAD]: head }, s, predictions),
      };
    },
  };
}

function studentFeeds(): Record<string, Values> {
  const feeds: Record<string, Values> = {
    images: f32(batch!.get('images')!.data),
    visible_rows: masks.visible_rows,
    context_coords: masks.context_coords,
    predict_coords: masks.predict_coords,
  };
  for (const n of Object.keys(studentShapes(s))) feeds[n] = f32(weights!.get(STUDENT + n)!.data);
  return feeds;
}

onEveryEngine('forward', (engine) => {
  it('gives the official student tensors', async () => {
    const executable = await (await engine.open()).load(forwardProgram());
    const out = await executable.run(studentFeeds());
    // Tokens in are registers then patches: the patch part is the embedding.
    const tokens = want('student.tokens_in');
    const width = s.dim;
    const per = s.registers + visible;
    const patchTokens = new Float64Array(visible * c.batch * width);
    for (let b = 0; b < c.batch; b++) {
      for (let i = 0; i < visible * width; i++) {
        patchTokens[b * visible * width + i] = tokens[(b * per + s.registers) * width + i]!;
      }
    }
    expect(relativeError(byImage(out.embedded!, visible, c.batch), patchTokens)).toBeLessThan(1e-5);
    expect(relativeError(byImage(out.patches!, visible, c.batch), want('student.patches'))).toBeLessThan(
      1e-5,
    );
    expect(
      relativeError(byImage(out.predictions!, predicted, c.batch), want('student.predictions')),
    ).toBeLessThan(1e-5);
    expect(relativeError(out.head!, want('student.head.weight_normalised'))).toBeLessThan(1e-5);
    expect(relativeError(byImage(out.logits!, predicted, c.batch), want('student.logits'))).toBeLessThan(
      1e-5,
    );
  });

  it('gives the official tensors under drop path', async () => {
    const t = dropPath!.get('kept_samples')!;
    const [branches, n] = t.shape as [number, number];
    const kept = Array.from({ length: branches }, (_, i) =>
      Array.from(f32(t.data).slice(i * n, (i + 1) * n)),
    );
    const executable = await (await engine.open()).load(forwardProgram(kept));
    const out = await executable.run(studentFeeds());
    for (const [name, count] of [
      ['patches', visible],
      ['predictions', predicted],
    ] as const) {
      const error = relativeError(
        byImage(out[name]!, count, c.batch),
        dropPath!.get(`student.${name}`)!.data,
      );
      expect(error).toBeLessThan(1e-5);
    }
  });

  it('gives the official evaluation outputs', async () => {
    const executable = await (await engine.open()).load(encoderProgram(s, { batch: c.batch, planes: true }));
    executable.setState(
      Object.fromEntries(Object.keys(encoderParameters(s)).map((n) => [n, f32(weights!.get(EMA + n)!.data)])),
    );
    const out = await executable.run({ images: f32(batch!.get('images')!.data) });
    expect(relativeError(out.global!, want('eval.global'))).toBeLessThan(1e-5);
    expect(relativeError(out.registers!, want('eval.registers'))).toBeLessThan(1e-5);
    expect(relativeError(out.feature_map!, want('eval.feature_map'))).toBeLessThan(1e-5);
  });

  it('gives the official clustering logits and both Sinkhorn assignments', async () => {
    const shape = [s.patches * c.batch, s.dim];
    const executable = await (await engine.open()).load({
      name: 'clustering',
      inputs: {
        patches: { shape, dtype: 'float32' },
        weight: { shape: [s.prototypes, s.dim], dtype: 'float32' },
        bias: { shape: [s.prototypes], dtype: 'float32' },
        logits: { shape: [s.patches, c.batch, s.prototypes], dtype: 'float32' },
      },
      state: [],
      run: (i) => ({
        logits: clusteringLogits({ 'layer.weight': i.weight!, 'layer.bias': i.bias! }, i.patches!),
        positionwise: sinkhorn(i.logits!, { temperature: 0.06, iterations: 3, variant: 'positionwise' }),
        standard: sinkhorn(i.logits!, { temperature: 0.06, iterations: 3, variant: 'standard' }),
      }),
    });
    // Reference patches are [B, N, D]; ours are position-major.
    const patches = f32(byImage(want('teacher.patches'), c.batch, s.patches));
    const out = await executable.run({
      patches,
      weight: f32(weights!.get('teacher.head.layer.weight')!.data),
      bias: f32(weights!.get('teacher.head.layer.bias')!.data),
      logits: f32(want('cluster.logits')),
    });
    expect(relativeError(out.logits!, want('cluster.logits'))).toBeLessThan(1e-5);
    expect(relativeError(out.positionwise!, want('cluster.assignments_positionwise'))).toBeLessThan(5e-5);
    expect(relativeError(out.standard!, want('cluster.assignments_standard'))).toBeLessThan(5e-5);
  });

  it('rotates as the official rotary embedding', async () => {
    const [b, heads, n, d] = forward!.get('rope.in')!.shape as [number, number, number, number];
    const executable = await (await engine.open()).load({
      name: 'rope',
      inputs: {
        x: { shape: [b, heads, n, d], dtype: 'float32' },
        coords: { shape: [b * n, 2], dtype: 'float32' },
        freqs: { shape: [2, d], dtype: 'float32' },
      },
      state: [],
      run: (i) => {
        const rows = tf.reshape(tf.transpose(i.x!, [0, 2, 1, 3]), [b * n, heads * d]);
        const y = rotary(rows, rotaryTable(i.coords!, i.freqs!));
        return { y: tf.transpose(tf.reshape(y, [b, n, heads, d]), [0, 2, 1, 3]) };
      },
    });
    const out = await executable.run({
      x: f32(want('rope.in')),
      coords: f32(want('rope.coords')),
      freqs: f32(want('rope.freqs')),
    });
    expect(relativeError(out.y!, want('rope.out'))).toBeLessThan(1e-5);
  });
});
