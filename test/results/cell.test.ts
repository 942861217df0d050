// Records of cells and their per-image counts: what is refused, and what is left out of a file that would grow too large.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { sealedText } from '../../src/base/files/seal.js';
import { stream } from '../../src/base/random.js';
import { DataError } from '../../src/errors.js';
import { cellFolder, findCell } from '../../src/results/cell.js';
import { type HeadCounts, MOST_BYTES, readCounts, writeCounts } from '../../src/results/counts.js';
import { readPlan } from '../../src/results/plan.js';
import { makeStudy } from '../support/made_study.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-cell-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const head = (name: string, images: number, seed: number): HeadCounts => {
  const random = stream(seed, name);
  const row = () =>
    Array.from({ length: 6 }, (_, c) => {
      const hits = random.int(5000);
      return [c, hits, hits + random.int(45000), hits + random.int(45000)];
    }).flat();
  return {
    test: 0,
    source: 'patches',
    head: name,
    pixels: { classes: 6, ignore: [255], images: Array.from({ length: images }, row) },
  };
};

describe('per-image counts', () => {
  it('come back as they were', async () => {
    const heads = [
      head('knn', 20, 1),
      { test: 1, source: 'global', head: 'linear', hits: { samples: [3, 5], hits: [1, 0.5] } },
    ];
    const { file, sha256, left_out } = await writeCounts(folder, heads);
    expect(left_out).toEqual([]);
    expect((await readCounts(folder, { file, sha256 })).heads).toEqual(heads);
  });

  it('stay below their limit: the last heads are left out, and named', async () => {
    const heads = ['knn', 'logreg', 'linear'].map((name, i) => head(name, 9000, i)); // about 0.4 MB each, compressed
    const { file, sha256, left_out } = await writeCounts(folder, heads);
    expect(statSync(join(folder, file)).size).toBeLessThanOrEqual(MOST_BYTES);
    expect(left_out).toEqual(['linear of patches']);
    expect((await readCounts(folder, { file, sha256 })).heads.map(({ head }) => head)).toEqual([
      'knn',
      'logreg',
    ]);
  });

  it('of another cell, and missing ones, are refused by name', async () => {
    const { file, sha256 } = await writeCounts(folder, [head('knn', 3, 9)]);
    const bytes = readFileSync(join(folder, file));
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(join(folder, file), bytes);
    await expect(readCounts(folder, { file, sha256 })).rejects.toThrow(
      /counts-.*is not the file that its cell was written with/,
    );
    await expect(readCounts(folder, { file: 'gone.json.gz', sha256 })).rejects.toThrow(
      /cannot read .*gone\.json\.gz/,
    );
  });
});

describe('records', () => {
  it('are found again, and a damaged one names its file and what to do', async () => {
    const out = join(folder, 'study');
    await makeStudy(out, {
      arms: [{ name: 'base', axis: null, values: {} }],
      seeds: [0],
      cells: [
        {
          arm: 'base',
          seed: 0,
          evaluation: 'seg',
          scores: [
            { head: 'knn', source: 'patches', metric: 'miou', convention: 'official', value: 0.5, images: 4 },
          ],
        },
      ],
    });
    expect((await findCell(out, 'base_0_seg'))!.results[0]!.value).toBe(0.5);
    expect(await findCell(out, 'another')).toBeUndefined();
    expect((await readPlan(out)).arms[0]!.cells[0]!.id).toBe('base_0_seg');
    expect(readdirSync(cellFolder(out, 'base_0_seg')).sort()).toEqual([
      'cell.json',
      expect.stringMatching(/^counts-/),
    ]);
    const file = join(cellFolder(out, 'base_0_seg'), 'cell.json');
    const record = JSON.parse(readFileSync(file, 'utf8'));
    const edited = { ...record, run: { ...record.run, state: 'fine' } };
    writeFileSync(file, JSON.stringify(edited));
    await expect(findCell(out, 'base_0_seg')).rejects.toThrow(
      /cell\.json was changed after it was written .*Delete its folder/,
    );
    writeFileSync(file, sealedText(edited));
    await expect(findCell(out, 'base_0_seg')).rejects.toThrow(
      /cell\.json is not a cell of capi ablate: run\.state: .*Delete its folder/,
    );
    writeFileSync(join(out, 'plan.json'), '[]');
    await expect(readPlan(out)).rejects.toThrow(DataError);
  });
});
