// Depth from first to last: what the heads of encoders that learned nothing reach, resuming, pairing of records, and sets that do not fit.
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodePng } from '../../../src/images/index.js';
import { checkRecord } from '../../../src/probes/check.js';
import { compareRecords } from '../../../src/probes/compare.js';
import { type EvaluateOptions, evaluate } from '../../../src/probes/evaluate.js';
import { planEvaluation } from '../../../src/probes/plan.js';
import type { EvaluationRecord } from '../../../src/results/record.js';
import { temporaryFolder } from '../../images/support.js';
import { engines } from '../../support/engines.js';

const engine = await engines[0]!.open();
const folder = temporaryFolder();
const training = (rates: string) =>
  `{ learning_rates: [${rates}], weight_decays: [1e-3], batch: 16, steps: 120, warmup_steps: 10, betas: [0.9, 0.999], eps: 1e-8, init_std: 0.01 }`;

/** A protocol file of 16 bins and regression, with `most` metres and a crop. */
function protocol(name: string, { most = 10, crop = 'none', rates = '1e-5, 3e-2' } = {}): string {
  const path = join(folder, `${name}.yaml`);
  writeFileSync(
    path,
    `depth:
  transform: { image_size: null }
  validation_share: 0.1
  split_seed: 42
  min_depth: 0.001
  max_depth: ${most}
  crop: ${crop}
  metric: rmse
  bins: { count: 16, upsample: 2, warmup_steps: 10, training: ${training(rates)} }
  regression: { huber: 1, training: ${training(rates)} }
`,
  );
  return path;
}
const usual = protocol('usual');

const options = (name: string, more: Partial<EvaluateOptions> = {}): EvaluateOptions => ({
  task: 'depth',
  engine,
  encoders: ['pixels:8?size=32'],
  protocol: usual,
  weights: 'ema',
  floors: false,
  memory: 2 ** 28,
  seed: 0,
  train: 'synthetic:scenes?size=32&count=300&difficulty=0',
  tests: ['synthetic:scenes?size=32&count=80&difficulty=0&split=test'],
  limit: null,
  out: join(folder, name),
  store: join(folder, 'store'),
  force: false,
  ...more,
});
const score = ({ results }: EvaluationRecord, head: string, metric: string) =>
  results.find((r) => r.head === head && r.metric === metric)!.value!;

describe('depth of generated scenes', () => {
  it('is learnt from patches: better than the mean depth and than position alone, with records that agree with their predictions', async () => {
    const asked = options('whole', { encoders: ['pixels:8?size=32', 'position:8?size=32'] });
    const [pixels, position] = await evaluate(asked);
    for (const head of ['bins', 'regression'] as const) {
      expect(score(pixels!.record, head, 'rmse')).toBeLessThan(
        0.8 * score(pixels!.record, 'constant', 'rmse'),
      );
      expect(score(pixels!.record, head, 'delta1')).toBeGreaterThan(
        score(pixels!.record, 'constant', 'delta1'),
      );
      const rates = pixels!.record.grid.filter((point) => point.head === head);
      const [low, high] = rates.map(({ rmse }) => Number(rmse)) as [number, number];
      expect(high).toBeLessThan(low);
      const { selected } = pixels!.record.results.find((r) => r.head === head)!;
      expect(selected).toMatchObject({ learningRate: 3e-2 });
    }
    // One depth a patch has no lower RMSE than the mean of each.
    expect(score(pixels!.record, 'oracle', 'rmse')).toBeLessThan(score(pixels!.record, 'constant', 'rmse'));
    await checkRecord(pixels!);
    const compared = await compareRecords(pixels!, position!);
    expect(new Set(compared.map(({ head }) => head))).toEqual(new Set(['bins', 'regression'])); // not the bounds
    const rmse = compared.find(({ head, metric }) => head === 'bins' && metric === 'rmse')!;
    expect(rmse.difference.high).toBeLessThan(0); // lower, and lower is better
    expect(rmse.better).toBe('a');
    const delta = compared.find(({ head, metric }) => head === 'bins' && metric === 'delta1')!;
    expect([delta.difference.low > 0, delta.better]).toEqual([true, 'a']);
    const [again] = await evaluate({ ...asked, encoders: ['pixels:8?size=32'] });
    expect([again!.fresh, again!.record.id]).toEqual([false, pixels!.record.id]);
  });

  it('ends in the same bytes when it was stopped in the training of either head and went on', async () => {
    const [whole] = await evaluate(options('whole'));
    for (const stopAt of ['bins: training', 'regression: training', 'regression: selection']) {
      const stop = new AbortController();
      const watch = {
        signal: stop.signal,
        onStage: (_: string, stage: string, done: number) => {
          if (stage === stopAt && done >= 40) stop.abort();
        },
      };
      await expect(evaluate(options('stopped', { watch, force: false }))).rejects.toThrow(/stopped/);
    }
    const stages = new Set<string>();
    const onStage = (_: string, stage: string) => stages.add(stage);
    const [gone] = await evaluate(options('stopped', { watch: { onStage } }));
    expect(stages).not.toContain('bins: training'); // nothing is trained twice
    expect(stages).not.toContain('regression: training');
    expect(gone!.record.predictions.sha256).toBe(whole!.record.predictions.sha256);
    expect(gone!.record.grid).toEqual(whole!.record.grid);
    expect(gone!.record.results).toEqual(whole!.record.results);
  });

  it('counts the pixels of the crop and of depths up to the largest, says so, and does not pair records that count others', async () => {
    const short = { rates: '3e-2' };
    const [whole] = await evaluate(options('whole'));
    const near = protocol('near', { ...short, most: 9 }); // the wall behind everything is at 10 m
    const [without] = await evaluate(options('whole', { protocol: near }));
    const [cropped] = await evaluate(
      options('whole', { protocol: protocol('cropped', { ...short, crop: 'eigen' }) }),
    );
    const share = (record: EvaluationRecord) => (record.tests[0] as { not_counted?: number }).not_counted!;
    expect(share(whole!.record)).toBe(0);
    expect(share(without!.record)).toBeGreaterThan(0.3);
    expect(without!.record.notes.join()).toMatch(
      /\d % of the pixels of .* count for no score \(counted are depths above 0 and up to 9 m\)/,
    );
    expect(share(cropped!.record)).toBeCloseTo(1 - (28 * 28) / 32 ** 2, 12); // 45 / 480 and 41 / 640 of 32 px
    expect(score(without!.record, 'constant', 'rmse')).toBeLessThan(score(whole!.record, 'constant', 'rmse'));
    await expect(compareRecords(whole!, cropped!)).rejects.toThrow(
      /under other settings: crop is 'none' in the one and 'eigen' in the other/,
    );
  });

  it('plans depth maps of four bytes a pixel', async () => {
    const plan = await planEvaluation(options('plan', { store: join(folder, 'empty') }));
    const seg = await planEvaluation(
      options('plan', { store: join(folder, 'empty'), task: 'seg', protocol: 'quick' }),
    );
    expect(plan.encoders[0]!.diskBytes - seg.encoders[0]!.diskBytes).toBe(3 * 380 * 32 * 32);
  });
});

describe('depth of files', () => {
  /** 12 images with a map each in millimetres, and the same with nothing measured in the left half. */
  async function pairs(name: string): Promise<string> {
    const [images, maps] = ['images', 'maps'].map((part) => join(folder, name, part)) as [string, string];
    for (const path of [images, maps]) mkdirSync(path, { recursive: true });
    for (let i = 0; i < 12; i++) {
      const data = Uint8Array.from({ length: 32 * 32 * 3 }, (_, p) => (p * (i + 3)) % 251);
      writeFileSync(join(images, `${i}.png`), await encodePng({ data, height: 32, width: 32 }));
      const header = "{'descr': '<u2', 'fortran_order': False, 'shape': (32, 32), }".padEnd(117);
      const values = Uint16Array.from({ length: 32 * 32 }, (_, p) => (p % 32 < 16 ? 0 : 2000 + 5 * i));
      writeFileSync(
        join(maps, `${i}.npy`),
        Buffer.concat([
          Buffer.from('\x93NUMPY\x01\x00v\x00', 'latin1'),
          Buffer.from(`${header}\n`, 'latin1'),
          Buffer.from(values.buffer),
        ]),
      );
    }
    return `pairs:${images},${maps}`;
  }

  it('is read with its scale, and nothing counts where nothing was measured', async () => {
    const uri = await pairs('scaled');
    const sets = { train: `${uri}?depth=0.001`, tests: [`${uri}?depth=0.001`], allowOverlap: true };
    const [found] = await evaluate(options('files', sets));
    expect((found!.record.tests[0] as { not_counted?: number }).not_counted).toBe(0.5);
    expect(score(found!.record, 'oracle', 'rmse')).toBeLessThan(1e-6); // each patch has one depth
    expect(score(found!.record, 'constant', 'rmse')).toBeLessThan(0.03); // metres: 2 to 2.055
    await expect(readFile(found!.file, 'utf8')).resolves.toContain('"abs_rel"');
  });

  it('is refused with a scale that leaves nothing to count, and without depth maps', async () => {
    const uri = await pairs('wrong');
    const wrong = { train: `${uri}?depth=1`, tests: [`${uri}?depth=1`], allowOverlap: true };
    await expect(evaluate(options('files', wrong))).rejects.toThrow(
      /^no pixel of the training images of pairs:.* has a depth above 0 and up to 10 m: check its scale, or max_depth of the protocol$/,
    );
    const { train } = options('files');
    const plain = `folder:${join(folder, 'wrong/images')}`;
    await expect(evaluate(options('files', { train, tests: [plain] }))).rejects.toThrow(
      /has no depth maps: depth needs a source that has$/,
    );
  });
});
