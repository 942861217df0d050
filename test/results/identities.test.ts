// Names of runs, records, cells and stored features stand still: what the code makes today is what it made when the snapshot was written.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { engines } from '../support/engines.js';
import {
  evaluatedIdentities,
  evaluationIdentities,
  expectAsBefore,
  fileEvaluationIdentities,
  fileSources,
  garmentIdentities,
  gridFiles,
  gridIdentities,
  presetIdentities,
  sourceIdentities,
  storeKeys,
  syntheticIdentities,
} from '../support/identities.js';
import { suiteNeeding } from '../support/suites.js';

const engine = await engines[0]!.open();
const folder = mkdtempSync(join(tmpdir(), 'capi-identities-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fresh = (): string => mkdtempSync(join(folder, 'case-'));

describe('names are those of before', () => {
  it('of the runs of every preset, on every engine', () => {
    expectAsBefore('presets', presetIdentities());
  });

  it('of generated sources and of sources of files', async () => {
    expectAsBefore('sources, generated', await syntheticIdentities());
    const own = fresh();
    expectAsBefore('sources, files', await sourceIdentities(fileSources(own), own));
  });

  it('of protocol cards and records', async () => {
    expectAsBefore('evaluations', await evaluationIdentities(engine));
    expectAsBefore('evaluations, files', await fileEvaluationIdentities(engine, fresh()));
  });

  it('of records that were evaluated from first to last, and of what these stored', async () => {
    expectAsBefore('evaluations, whole', await evaluatedIdentities(engine, fresh()));
  });

  it('of stored features and label maps', async () => {
    expectAsBefore('store', await storeKeys(engine, fresh()));
  });

  it('of the cells of a grid in words', async () => {
    expectAsBefore('grid, words', await gridIdentities(['masking=random,inverse+roll', 'loss=capi,direct']));
  });

  it.each(gridFiles('paper'))('of the cells of %s, whose data is not here', async (name, file) => {
    expectAsBefore(`grid, ${name}`, await gridIdentities([file]));
  });
});

suiteNeeding('fashion-mnist')('names with garments are those of before', () => {
  it('of sources', async () => {
    expectAsBefore('sources, garments', await garmentIdentities());
  });

  it.each(gridFiles('small'))('of the cells of %s', async (name, file) => {
    expectAsBefore(`grid, ${name}`, await gridIdentities([file]));
  });
});
