// What an evaluation refuses of its data, and what it says of it: shared images, several labels, one class, what labels leave out.
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import type { ImageSource } from '../../src/images/index.js';
import { classNames, trainLabels } from '../../src/probes/cls/labels.js';
import { task as cls } from '../../src/probes/cls/task.js';
import { dataNotes } from '../../src/probes/data_notes.js';
import { chooseData, type EvaluationData } from '../../src/probes/dataset.js';
import { overlapNotes, refuseRecorded, refuseSameImages } from '../../src/probes/overlap_notes.js';
import { refuseOtherLabels } from '../../src/probes/seg/label_space.js';
import { task as seg } from '../../src/probes/seg/task.js';
import { failure } from '../images/support.js';

const SIDE = 16;

/** Noise that depends on the seed alone: no two seeds are near. */
function noise(seed: number): Uint8Array<ArrayBuffer> {
  let a = seed * 2654435761 + 1;
  return Uint8Array.from({ length: SIDE * SIDE * 3 }, () => {
    a = (Math.imul(a, 1664525) + 1013904223) >>> 0;
    return a >>> 24;
  });
}

/** A source of pictures by seed, with labels if wanted. */
function pictures(uri: string, seeds: number[], more: Partial<ImageSource> = {}): ImageSource {
  return {
    uri,
    split: 'all',
    length: seeds.length,
    name: (i) => `${uri} ${i}`,
    read: async (i) => ({ data: noise(seeds[i]!), height: SIDE, width: SIDE }),
    identity: async () => JSON.stringify(seeds),
    ...more,
  };
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const data = (source: ImageSource, limit: number | null = null): Promise<EvaluationData> =>
  chooseData(source, limit);
async function sets(train: number[], ...tests: number[][]) {
  return {
    train: await data(pictures('train', train)),
    tests: await Promise.all(
      tests.map(async (seeds, i) => ({ name: `t${i}`, data: await data(pictures(`t${i}`, seeds)) })),
    ),
  };
}
const overlap = async (train: number[], test: number[], allow = false) =>
  overlapNotes(await sets(train, test), allow);

describe('images on both sides', () => {
  it('none: nothing is said', async () => {
    expect(await overlap(range(0, 50), range(100, 20))).toEqual({
      notes: [],
      found: [{ same: 0, near: 0, images: 20 }],
    });
  });

  it('up to 1 % of the test images is a warning with count and example', async () => {
    const { notes, found } = await overlap(range(0, 200), [7, ...range(300, 99)]);
    expect(found).toEqual([{ same: 1, near: 0, images: 100 }]);
    expect(notes).toEqual([
      '1 of 100 t0 images are also among the 200 training images (equal pixels), 0 more nearly so: for example t0 0 is train 7',
    ]);
  });

  it('above it, an error with count, example and option, or a note where it is allowed', async () => {
    const error = await failure(() => overlap(range(0, 200), [7, 8, ...range(300, 98)]));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /^2 of 100 t0 images .* for example t0 0 is train 7: above 1 % of the test images/,
    );
    expect(error.message).toContain('--allow-overlap');
    const { notes } = await overlap(range(0, 200), [7, 8, ...range(300, 98)], true);
    expect(notes[0]).toMatch(/; allowed by --allow-overlap$/);
  });

  it('a task that says what it does with them is not refused, and the note says so', async () => {
    const { notes, found } = await overlapNotes(await sets(range(0, 50), range(0, 20)), false, 'left out');
    expect(found).toEqual([{ same: 20, near: 0, images: 20 }]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/^20 of 20 t0 images are also .*; left out$/);
  });

  it('near-duplicates alone are refused above 10 %', async () => {
    const brighter = (seeds: number[], changed: number): ImageSource =>
      pictures('copies', seeds, {
        read: async (i) => ({
          data: noise(seeds[i]!).map((v) => (i < changed ? Math.min(255, v + 2) : v)),
          height: SIDE,
          width: SIDE,
        }),
      });
    const train = await data(pictures('train', range(0, 40)));
    const test = async (changed: number) => ({
      train,
      tests: [
        {
          name: 't',
          data: await data(brighter([...range(0, changed), ...range(100, 20 - changed)], changed)),
        },
      ],
    });
    const { found, notes } = await overlapNotes(await test(2), false);
    expect(found).toEqual([{ same: 0, near: 2, images: 20 }]);
    expect(notes).toHaveLength(1);
    const { message } = await failure(async () => overlapNotes(await test(3), false));
    expect(message).toMatch(/0 of 20 .* 3 more nearly so.*above 10 % with near-duplicates/);
  });

  it('the same set twice is refused without reading an image, with a hold-out offered for a folder', async () => {
    const unread = { read: () => Promise.reject(new Error('read')) };
    const own = await data(pictures('folder:/x', range(0, 5), unread));
    const both = { train: own, tests: [{ name: 'folder:/x', data: own }] };
    const { message } = await failure(async () => refuseSameImages(both, false));
    expect(message).toContain('the same 5 images of folder:/x (for example folder:/x 0)');
    expect(message).toContain("--train 'folder:/x?holdout=0.2' --test 'folder:/x?holdout=0.2'");
    expect(message).toContain('--allow-overlap');
    expect(refuseSameImages(both, true)).toBeUndefined();
    const idx = await data(pictures('idx:/x?split=test', range(0, 5), { ...unread, split: 'test' }));
    const parts = { train: idx, tests: [{ name: 't', data: idx }] };
    const other = (await failure(async () => refuseSameImages(parts, false))).message;
    expect(other).toContain('name another part or source');
    expect(other).not.toContain('holdout');
  });

  it('a record that was made with an overlap is used again only where that is allowed', () => {
    const tests = [{ source: 't', overlap: { same: 5, near: 0, images: 100 } }];
    expect(() => refuseRecorded(tests, false)).toThrow(/5 of 100 images of t/);
    expect(() => refuseRecorded(tests, true)).not.toThrow();
    expect(() =>
      refuseRecorded([{ source: 't', overlap: { same: 1, near: 2, images: 100 } }], false),
    ).not.toThrow();
    expect(() => refuseRecorded([{ source: 'old' }], false)).not.toThrow();
  });
});

const labelled = (uri: string, classes: string[], labels: number[][], more: Partial<ImageSource> = {}) =>
  data(
    pictures(uri, range(0, labels.length), {
      classes,
      label: (i) => labels[i]![0],
      labels: (i) => labels[i]!,
      ...more,
    }),
  );

describe('labels', () => {
  it('several of a training image are refused with count, example and what to do', async () => {
    const train = await labelled('x', ['cat', 'dog'], [[0], [1, 0], [1], [0, 1]]);
    const { message } = await failure(async () => trainLabels(train));
    expect(message).toMatch(/^2 of 4 training images have several labels \(x 1: dog, cat\)/);
    expect(trainLabels(await labelled('x', ['cat', 'dog'], [[0], [], [1]]))).toEqual([[0], [], [1]]);
  });

  it('all of one class are refused, and a source of one class is named', async () => {
    const one = await labelled('x', ['cat', 'dog'], [[1], [1], []]);
    expect((await failure(async () => trainLabels(one))).message).toContain('are of one class (dog)');
    const only = await labelled('x', ['cat'], [[0]]);
    expect((await failure(async () => classNames(only.source))).message).toContain(
      'of one class (cat) alone',
    );
    const why = pictures('x', [1], { unlabelled: 'for a reason' });
    expect((await failure(async () => classNames(why))).message).toContain('(for a reason)');
  });

  it('none at all are refused with what the folder says of them', async () => {
    const none = await labelled('x', ['cat', 'dog'], [[], []]);
    expect((await failure(async () => trainLabels(none))).message).toContain('none of the 2 training images');
    const why = await data(pictures('x', [1, 2], { unlabelled: 'labels.tsv is not read' }));
    expect((await failure(async () => trainLabels(why))).message).toContain('(labels.tsv is not read)');
  });

  it('what they do not cover is said', async () => {
    const classes = ['ant', 'bee', 'cow', 'dog'];
    const train = await labelled('train', classes, [[0], [1], [2], []], {
      leftOut: [{ what: 'hidden files', count: 2, examples: ['.a', '.b'] }],
      remarks: ['a remark'],
    });
    const test = await labelled('test', classes, [[0], [0, 1], []]);
    const one = await labelled('one', classes, [[2], [2]]);
    const tests = [
      { name: 'test', data: test },
      { name: 'one', data: one },
    ];
    expect(dataNotes(cls, { train, tests })).toEqual([
      'train: left out 2 hidden files (.a, .b)',
      'a remark',
      '1 of 4 training images have no label and are left out',
      'no training images of 1 of 4 classes (dog)',
      '1 of 3 images of test have no label and are not counted',
      'test has no images of 2 of 4 classes (cow, dog) that were learnt',
      'all counted images of one are of one class (cow): a head that always says so scores 100 %',
    ]);
    expect(dataNotes(seg, { train, tests })).toHaveLength(2);
    const deep = await labelled('deep', classes, [[0], [1]], { settings: { range: [0, 4095] } });
    const read = dataNotes(seg, { train, tests: [{ name: 'deep', data: deep }] });
    expect(read.at(-1)).toMatch(/black to white are 0,4095 in deep, but all of their kind in the training/);
    expect(dataNotes(seg, { train: deep, tests: [{ name: 'deep', data: deep }] })).toEqual([]);
    const own = await labelled('own', ['ant', 'cow'], [[0], [1]], { amongOwn: true });
    expect(dataNotes(cls, { train, tests: [{ name: 'own', data: own }] })).toContain(
      'predictions of own go among its own 2 of 4 classes alone (classes=own)',
    );
  });
});

describe('label maps of training and test images', () => {
  const maps = (uri: string, labelMapClasses: string[], ignoreLabels: number[] = [255]) => ({
    source: pictures(uri, [1], { labelMapClasses, ignoreLabels }),
  });
  const refusal = (a: ReturnType<typeof maps>, b: ReturnType<typeof maps>) => {
    try {
      refuseOtherLabels({ train: a, tests: [{ name: 'test', data: b }] });
      return 'fits';
    } catch (error) {
      return (error as Error).message;
    }
  };
  const train = maps('train', ['sky', 'car', 'dog']);

  it('fit where numbers mean the same classes', () => {
    expect(refusal(train, maps('b', ['sky', 'car', 'dog']))).toBe('fits');
    expect(refusal(train, maps('b', ['0', '1', '2']))).toBe('fits');
    const accents = [maps('a', ['caf\u00e9'], [0, 255]), maps('b', ['cafe\u0301'], [255, 0])] as const;
    expect(refusal(...accents)).toBe('fits');
  });

  it('are refused where they mean others', () => {
    expect(refusal(train, maps('b', ['sky', 'dog', 'car']))).toMatch(
      /of test .* label 1 is 'dog', not 'car'/,
    );
    expect(refusal(train, maps('b', ['0', '1', '2', '3']))).toContain('4 classes, not 3');
    expect(refusal(train, maps('b', ['sky', 'car', 'dog'], [0, 255]))).toContain(
      '0, 255 is ignored, not 255',
    );
    expect(refusal(train, maps('b', ['sky', 'car', 'dog'], []))).toContain('nothing is ignored, not 255');
  });
});
