// What is committed under results/ stays valid: every file is read, its name is the one that its parts make, grids plan the same cells, reports come out the same.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readSealed } from '../../src/base/files/seal.js';
import { hashOf } from '../../src/base/hash.js';
import { readCell } from '../../src/results/cell.js';
import { readPlan } from '../../src/results/plan.js';
import { committedJson, reportAgain, reportFiles, results, studies } from '../support/committed.js';
import { gridIds } from '../support/identities.js';
import { suiteNeeding } from '../support/suites.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-committed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('committed results', () => {
  it('are read, every file of them', async () => {
    const files = committedJson();
    expect(files.length).toBeGreaterThan(150);
    for (const file of files) expect((await readSealed(join(results, file))).value).toHaveProperty('schema');
  });

  it.each(studies)('of %s: each cell is that of its id, folder and plan', async (name) => {
    const { arms } = await readPlan(join(results, name));
    const planned = arms.flatMap((arm) => arm.cells.map(({ id }) => id));
    const files = committedJson().filter((file) => file.startsWith(`${name}/cells/`));
    expect(files.map((file) => basename(dirname(file)))).toEqual(planned.sort());
    for (const file of files) {
      const { id, protocol } = await readCell(join(results, file));
      expect(id).toBe(basename(dirname(file)));
      const { features, ...card } = protocol!.card; // an arm may lack a source: its other rows are comparable
      expect(hashOf(card)).toBe(protocol!.hash);
    }
  });

  it.each(studies)('of %s: the report made again is the committed one, byte for byte', async (name) => {
    const { files } = await reportAgain(name, folder);
    const committed = reportFiles(join(results, name));
    expect(Object.keys(files)).toEqual(Object.keys(committed));
    for (const [file, text] of Object.entries(committed)) expect(files[file], file).toBe(text);
  });
});

suiteNeeding('fashion-mnist')('committed results', () => {
  it.each(studies)('of %s: its grid plans the cells that it has', async (name) => {
    const { arms } = await readPlan(join(results, name));
    const planned = arms.flatMap((arm) => arm.cells.map(({ id }) => `${id} ${arm.name}`));
    const { cells } = await gridIds([join(results, name, 'grid.yaml')]);
    expect(cells.map(({ id, arm }) => `${id} ${arm}`).sort()).toEqual(planned.sort());
  });
});
