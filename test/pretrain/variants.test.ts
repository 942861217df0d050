// Every rival method of the ablations against float64 PyTorch (test/golden/make/variants.py): targets, loss, all gradients, three optimiser
// steps, on every engine present, at the bounds of the parity tests with the official code.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSafetensors } from '../../src/base/safetensors.js';
import { type Config, inParts, parseConfig } from '../../src/config/index.js';
import { elements, type Values } from '../../src/engine/program.js';
import { isRope, ropeFrequencies, SECOND_MOMENT } from '../../src/model/parameters.js';
import { maskInputs, readMaskInputs } from '../../src/model/positions.js';
import { modelSizes } from '../../src/model/sizes.js';
import { adamwCorrections } from '../../src/optim/adamw.js';
import { stepProgram } from '../../src/pretrain/step.js';
import { onEveryEngine } from '../support/engines.js';
import { byImage, relativeError } from '../support/golden.js';

interface Settings {
  variants: Record<string, Record<string, string | number | boolean>>;
  batch: number;
  image_size: [number, number];
  patch: number;
  width: number;
  heads: number;
  depth: number;
  predictor_depth: number;
  mlp_ratio: number;
  prototypes: number;
  visible: number;
  predicted: number;
  /** Where AdamW's second moments start. */
  second_moment: number;
  lr: number[];
  clustering_lr: number[];
  momentum: number[];
}

const file = await readSafetensors(join(import.meta.dirname, '../golden/variants.safetensors'));
const settings = JSON.parse(file.metadata.settings!) as Settings;
const golden = (name: string): ArrayLike<number> => file.tensors.get(name)!.data as ArrayLike<number>;

function configOf(variant: string): Config {
  const o = settings.variants[variant]!;
  const [height, width] = settings.image_size;
  const patches = (height * width) / settings.patch ** 2;
  const masked = patches - settings.visible;
  return parseConfig({
    model: {
      image_size: settings.image_size,
      patch_size: settings.patch,
      width: settings.width,
      heads: settings.heads,
      depth: settings.depth,
      mlp_ratio: settings.mlp_ratio,
      registers: o.registers,
      positions: o.positions,
      drop_path: 0,
      predictor: {
        type: o.predictor,
        depth: settings.predictor_depth,
        ...(o.predictor === 'fused' ? {} : { width: o.width, heads: o.pred_heads }),
      },
    },
    masking: { ratio: (masked + 0.5) / patches, predict: (settings.predicted + 0.5) / masked },
    clustering: { prototypes: settings.prototypes, sinkhorn: o.sinkhorn },
    loss: { type: o.loss },
    train: { batch: settings.batch, steps: 3 },
  });
}

const one = (x: number): Float32Array => Float32Array.of(x);

function scalars(step: number): Record<string, Values> {
  const c = adamwCorrections(step + 1, { beta1: 0.9, beta2: 0.95, eps: 1e-8 });
  return {
    lr: one(settings.lr[step]!),
    clustering_lr: one(settings.clustering_lr[step]!),
    momentum: one(settings.momentum[step]!),
    correction1: one(c.correction1),
    root_correction2: one(c.rootCorrection2),
  };
}

onEveryEngine('a rival method', (engine) => {
  for (const parts of [1, 2]) {
    it.each(Object.keys(settings.variants))(`%s, ${parts} micro-batches`, async (variant) => {
      const config = configOf(variant);
      const s = modelSizes(config);
      const { batch, predicted } = settings;
      const program = stepProgram(inParts(config, parts), { reference: true });
      const executable = await (await engine.open()).load(program);
      const state = program.state.map((name): [string, Values] => {
        const stored = file.tensors.get(`${variant}/before.${name}`);
        const shape = program.inputs[name]!.shape;
        if (stored) {
          expect([...stored.shape], name).toEqual(shape);
          return [name, Float32Array.from(stored.data as ArrayLike<number>)];
        }
        if (isRope(name)) return [name, ropeFrequencies(shape[1]!, s.ropeMin, s.ropeMax)];
        const start = name.endsWith(SECOND_MOMENT) ? settings.second_moment : 0;
        return [name, new Float32Array(elements(shape)).fill(start)];
      });
      // Every parameter has a golden value, and every golden value a parameter.
      const known = [...file.tensors.keys()].filter((n) => n.startsWith(`${variant}/before.`));
      const own = state.map(([n]) => n).filter((n) => !/exp_avg|rope/.test(n));
      expect(own.map((n) => `${variant}/before.${n}`).sort()).toEqual(known.sort());
      executable.setState(Object.fromEntries(state));

      const masks = maskInputs(
        s,
        batch,
        Int32Array.from(golden('visible')),
        Int32Array.from(golden('predict')),
      );
      const inputs = {
        images: Float32Array.from(golden('images')),
        ...Object.fromEntries(readMaskInputs(s).map((n) => [n, masks[n]])),
      };
      const errors: Record<string, number> = {};
      for (let step = 0; step < 3; step++) {
        const out = await executable.run({ ...inputs, ...scalars(step) });
        if (step === 2) {
          errors.loss3 = relativeError(out.capi_loss!, golden(`${variant}/loss_of_step_3`));
          continue;
        }
        if (step > 0) continue;
        errors.targets = relativeError(byImage(out.targets!, predicted, batch), golden(`${variant}/targets`));
        errors.loss = relativeError(out.capi_loss!, golden(`${variant}/loss`));
        expect('clustering_loss' in out).toBe(file.tensors.has(`${variant}/clustering_loss`));
        if (out.clustering_loss) {
          errors.clustering = relativeError(out.clustering_loss, golden(`${variant}/clustering_loss`));
        }
        if (out.target_entropy) {
          errors.entropy = relativeError(out.target_entropy, golden(`${variant}/entropy`));
        }
        errors.gradients = 0;
        for (const [name, tensor] of file.tensors) {
          if (!name.startsWith(`${variant}/gradient.`)) continue;
          const e = relativeError(out[name.slice(variant.length + 1)]!, tensor.data as ArrayLike<number>);
          expect(e, name).toBeLessThan(5e-5);
          errors.gradients = Math.max(errors.gradients, e);
        }
      }
      errors.after3 = 0;
      const names = program.state.filter((n) => file.tensors.has(`${variant}/after3.${n}`));
      const after = await executable.getState(names);
      for (const n of names) {
        const e = relativeError(after[n]!, golden(`${variant}/after3.${n}`));
        expect(e, n).toBeLessThan(2e-5);
        errors.after3 = Math.max(errors.after3, e);
      }
      console.log(engine.name, variant, JSON.stringify(errors));
      expect(errors.targets).toBeLessThan(5e-5);
      expect(errors.loss).toBeLessThan(1e-6);
      expect(errors.loss3).toBeLessThan(1e-4);
      expect(errors.clustering ?? 0).toBeLessThan(1e-6);
      expect(errors.entropy ?? 0).toBeLessThan(5e-5);
      await executable.dispose();
    });
  }
});
