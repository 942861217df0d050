// Classification scores on hand-made cases: several labels, none, classes apart, subsets, ties.
import { describe, expect, it } from 'vitest';
import { classAccuracy, largestClass, topOne } from '../../src/scores/classification.js';

describe('topOne', () => {
  it('counts a hit on any label and drops samples without', () => {
    const found = topOne([2, 1, 0, 3, 3], [2, [0, 1], [1, 2], [], -1]);
    expect([...found.samples]).toEqual([0, 1, 2]);
    expect([...found.hits]).toEqual([1, 1, 0]);
    expect(found.accuracy).toBe(2 / 3);
  });

  it('leaves out padding at the end, and has no accuracy without samples', () => {
    expect(topOne([1, 1, 9, 9], [1, 0]).accuracy).toBe(0.5);
    expect(topOne([1], [-1]).accuracy).toBeNaN();
    expect(() => topOne([1], [1, 0])).toThrow('1 predictions do not fit 2 samples');
  });
});

describe('classAccuracy', () => {
  it('counts a sample towards each of its labels', () => {
    const { accuracy, samples } = classAccuracy([0, 1, 1, 2], [0, 0, [1, 2, 1], []], 4);
    expect([...samples]).toEqual([2, 1, 1, 0]);
    expect([...accuracy]).toEqual([0.5, 1, 1, Number.NaN]);
    expect(() => classAccuracy([0], [4], 4)).toThrow('label 4 of sample 0 is not one of 4 classes (0 to 3)');
  });
});

describe('largestClass', () => {
  const logits = [
    1,
    5,
    5,
    0,
    Number.NaN,
    -1,
    -Infinity,
    Number.NaN,
    -Infinity,
    -Infinity,
    -Infinity,
    -Infinity,
  ];

  it('takes the smallest of equals, and no NaN', () => {
    expect([...largestClass(logits, 4)]).toEqual([1, 1, 0]);
    expect([...largestClass([Number.NaN, Number.NaN], 2)]).toEqual([-1]);
  });

  it('keeps to a subset in whatever order it comes', () => {
    expect([...largestClass(logits, 4, [3, 2, 3])]).toEqual([2, 2, 2]);
    expect([...largestClass(logits, 4, [3, 0])]).toEqual([0, -1, 0]);
    expect(() => largestClass(logits, 4, [4])).toThrow(
      'class 4 of the subset is not one of 4 classes (0 to 3)',
    );
    expect(() => largestClass(logits, 4, [])).toThrow('the subset of classes is empty');
  });
});
