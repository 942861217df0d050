// Edit distance and the nearest word.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from '../../src/config/nearest.js';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['ab', 'ba', 1],
    ['batch', 'bacth', 1],
    ['width', 'wdth', 1],
  ])('%s %s', (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected);
  });

  it('is symmetric, zero only for equal words, and at most the longer length', () => {
    const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('nearest', () => {
  it('prefers the closest, then the earlier, and gives up on a far one', () => {
    expect(nearest('bacth', ['match', 'batch'])).toBe('batch');
    expect(nearest('ax', ['ay', 'az'])).toBe('ay');
    expect(nearest('steps', ['prototypes'])).toBeUndefined();
    expect(nearest('steps', [])).toBeUndefined();
  });
});
