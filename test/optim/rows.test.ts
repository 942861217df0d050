// Which parameters share a row: groups apart, order kept, large ones alone, short ones together.
import { expect, it } from 'vitest';
import { parameterRows } from '../../src/optim/rows.js';

const rowsOf = (sizes: Record<string, number>, groupOf: (name: string) => string = () => 'all') =>
  parameterRows(Object.fromEntries(Object.entries(sizes).map(([n, size]) => [n, { size }])), groupOf).map(
    ({ names, group }) => `${group}: ${names.join(' ')}`,
  );

it('keeps groups apart and names in order', () => {
  const rows = rowsOf({ 'a.weight': 100, 'a.bias': 10, 'b.weight': 100, 'b.bias': 10 }, (n) => n.slice(2));
  expect(rows).toEqual(['weight: a.weight b.weight', 'bias: a.bias b.bias']);
});

it('fills a row up to 131,072 values and begins another', () => {
  expect(rowsOf({ a: 100_000, b: 31_072, c: 1, d: 7 })).toEqual(['all: a b', 'all: c d']);
});

it('leaves a large parameter a row of its own, and the one that was being filled open', () => {
  expect(rowsOf({ a: 10, b: 500_000, c: 10, d: 131_072 })).toEqual(['all: a c', 'all: b', 'all: d']);
});
