// Columns of text: aligned, numbers to the right, no trailing blanks.

import { expect, it } from 'vitest';
import { columns } from '../../src/cli/table.js';

it('aligns words left and numbers right', () => {
  const rows = [
    ['name', 'rate', 'note'],
    ['a', '1', 'x'],
    ['long name', '12.5', ''],
  ];
  expect(columns(rows)).toBe('name       rate  note\na             1  x\nlong name  12.5');
  expect(columns([])).toBe('');
});
