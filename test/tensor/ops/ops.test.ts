// Every composite op and its hand-written gradient against float64 and central differences, on every engine.

import { describe, expect, it } from 'vitest';
import * as ops from '../../../src/tensor/ops/index.js';
import { checkRow } from '../../engine/rows/row.js';
import { onEveryEngine } from '../../support/engines.js';
import { opRows } from './rows.js';

describe('the table of composite ops', () => {
  it('has a row for every op', () => {
    const tested = new Set(opRows.map((row) => row.name.split(' ')[0]!));
    const all = Object.keys(ops).filter((name) => !['primitive', 'decomposed'].includes(name)); // runs the kernels that the others name
    expect([...tested].sort()).toEqual(all.sort());
  });
});

onEveryEngine('composite ops', (engine) => {
  it.each(opRows)('$name', async (row) => {
    await checkRow(row, await engine.open());
  });
});
