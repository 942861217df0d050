// Whole evaluations: a folder in the layout of ROxford, and a source that is searched for its own images.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../src/base/safetensors.js';
import { DataError } from '../../../src/errors.js';
import { encodePng } from '../../../src/images/index.js';
import { compareRecords } from '../../../src/probes/compare.js';
import { type EvaluateOptions, evaluate } from '../../../src/probes/evaluate.js';
import { planEvaluation } from '../../../src/probes/plan.js';
import { put, temporaryFolder } from '../../images/support.js';
import { engines } from '../../support/engines.js';

const folder = temporaryFolder();
const engine = await engines[0]!.open();
const SIDE = 16;

const options = (train: string, test = train): EvaluateOptions => ({
  task: 'retrieval',
  engine,
  encoders: [`pixels:8?size=${SIDE}`],
  train,
  tests: [test],
  protocol: 'quick',
  weights: 'ema',
  floors: false,
  memory: 1e8,
  limit: null,
  seed: 0,
  out: join(folder, 'evals'),
  store: join(folder, 'store'),
  force: false,
});

/** A picture of one colour between red and blue: cosines fall with the distance of shades. */
const shade = (share: number): Promise<Uint8Array> =>
  encodePng({
    data: Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => [share, 0.5, 1 - share][i % 3]! * 200),
    height: SIDE,
    width: SIDE,
  });

describe('evaluate', () => {
  it('scores easy, medium and hard of a folder in the layout of ROxford', async () => {
    const root = join(folder, 'colours');
    const shades = [0, 0.2, 0.4, 0.6, 0.8, 1];
    for (const [i, share] of shades.entries()) put(join(root, `jpg/d${i}.png`), await shade(share));
    for (const [q, share] of [0.05, 0.95].entries()) put(join(root, `jpg/q${q}.png`), await shade(share));
    const bbx = [0, 0, SIDE, SIDE];
    // The first query is nearest to 0, 1, 2, ...; the second to 5, 4, 3, ...
    const gnd = [
      { bbx, easy: [1], hard: [3], junk: [0] },
      { bbx, easy: [], hard: [5, 3], junk: [] },
    ];
    const imlist = shades.map((_, i) => `d${i}`);
    writeFileSync(join(root, 'gnd_colours.json'), JSON.stringify({ imlist, qimlist: ['q0', 'q1'], gnd }));
    const asked = options(`revisited:${root}`);
    const [made] = await evaluate(asked);
    const { results, split, notes, tests } = made!.record;
    const score = (metric: string, convention: string) => {
      const found = results.filter((r) => r.metric === metric && r.convention === convention);
      expect(found).toHaveLength(1);
      return [found[0]!.n, found[0]!.value];
    };
    const second = (1 + (1 / 2 + 2 / 3) / 2) / 2; // its positives stand first and third
    expect(score('map', 'easy')).toEqual([1, 1]);
    expect(score('map', 'hard')).toEqual([2, ((0 + 1 / 2) / 2 + second) / 2]);
    expect(score('map', 'medium')).toEqual([2, ((1 + (1 / 2 + 2 / 3) / 2) / 2 + second) / 2]);
    expect(score('precision@1', 'hard')).toEqual([2, 0.5]);
    expect(score('precision@5', 'medium')).toEqual([2, 2 / 3]);
    expect(results).toHaveLength(12);
    expect(split).toMatchObject({ train: 6, validation: 0 });
    expect(tests[0]).toMatchObject({ images: 2, overlap: { same: 0 } });
    expect(notes).toEqual([]);
    const stored = await readSafetensors(join(dirname(made!.file), made!.record.predictions.file));
    expect([...(stored.tensors.get('0/average_patch/cosine/map easy')!.data as Float32Array)]).toEqual([
      1,
      Number.NaN,
    ]);
    const [again] = await evaluate(asked);
    expect(again).toMatchObject({ fresh: false, file: made!.file });
  });

  it('searches a source for its own images, and says that no query finds itself', async () => {
    const source = `synthetic:scenes?size=32&difficulty=0&count=40&split=test`;
    const asked = { ...options(source), encoders: ['pixels:8?size=32', 'pixels:16?size=32'] };
    await expect(evaluate({ ...asked, task: 'cls' })).rejects.toThrow(DataError);
    expect((await planEvaluation(asked)).encoders[0]).toMatchObject({ images: 80, stored: 0 });
    const [first, second] = await evaluate(asked);
    const { results, notes } = first!.record;
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(
      /^40 of 40 .* images are also .*; images that equal a query in every pixel are taken out/,
    );
    const recall = results.find(({ metric }) => metric === 'recall@1')!;
    expect(recall.convention).toBe('same class');
    expect(recall.value).toBeLessThan(1);
    expect(recall.n).toBeGreaterThan(30);
    const compared = await compareRecords(first!, second!);
    expect(compared.map(({ metric }) => metric)).toEqual(['map', 'recall@1', 'recall@5', 'recall@10']);
    const [other] = await evaluate({
      ...asked,
      encoders: asked.encoders.slice(1),
      train: source.replace('40', '50'),
    });
    await expect(compareRecords(first!, other!)).rejects.toThrow(
      /the database is '40 images, \w+' in the one and '50/,
    );
  });
});
