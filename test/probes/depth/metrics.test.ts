// Errors of depth: against NumPy to 1e-9, the numbers that it gave, the pixels of the crop, and means over images.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { cropMask, ErrorTable, imageErrors, METRICS } from '../../../src/probes/depth/metrics.js';
import { suiteNeeding } from '../../support/suites.js';
import { python } from '../../support/tools.js';

const [height, width, images, most] = [12, 16, 4, 10];
const mask = cropMask('eigen', { height, width });

/** Maps with depths that are missing or too far, and predictions at all distances from them; nothing counts in the last image. */
function maps() {
  const random = stream(11, 'depth maps');
  const truth = Array.from({ length: images }, (_, image) =>
    Float64Array.from({ length: height * width }, () => {
      if (image === images - 1) return 0;
      return random.next() < 0.2 ? 0 : random.uniform(0.5, 12);
    }),
  );
  const predicted = truth.map((map) =>
    map.map((t) => Math.min(10, Math.max(0.001, t * random.uniform(0.4, 2.2)))),
  );
  return { truth, predicted };
}
const { truth, predicted } = maps();
const found = truth.map((map, i) => imageErrors(map, predicted[i]!, mask, most));

// Printed by test/golden/make/depth_metrics.py (NumPy 2.4) for these maps.
const NUMPY: (number[] | null)[] = [
  [2.2569035115852625, 0.43806236976819407, 0.3163265306122449, 0.5408163265306123, 0.8571428571428571],
  [2.153812475102937, 0.36818713968014694, 0.43, 0.7, 0.88],
  [2.2757277211479763, 0.3832631843899125, 0.38181818181818183, 0.6090909090909091, 0.8818181818181818],
  null,
];

describe('errors of depth', () => {
  it('are those that NumPy gave', () => {
    for (const [i, expected] of NUMPY.entries()) {
      expect(found[i]!.pixels === 0).toBe(expected === null);
      for (const [m, metric] of METRICS.entries())
        if (expected) expect(Math.abs(found[i]![metric] - expected[m]!)).toBeLessThan(1e-9);
    }
    expect(NUMPY).toHaveLength(images);
  });

  it('are means over images, of those that have a pixel that counts', () => {
    const table = new ErrorTable();
    for (const [i, errors] of found.entries()) table.add(i, errors);
    expect(table.samples).toEqual([0, 1, 2]);
    for (const metric of METRICS) {
      const own = found.slice(0, 3).map((errors) => errors[metric]);
      expect(table.values[metric]).toEqual(own);
      expect(table.mean(metric)).toBeCloseTo((own[0]! + own[1]! + own[2]!) / 3, 12);
    }
    expect(new ErrorTable().mean('rmse')).toBeNaN();
  });

  it('are none of a prediction that is right, and do not see what does not count', () => {
    const [map] = truth as [Float64Array];
    expect(imageErrors(map, map, mask, most)).toMatchObject({ rmse: 0, abs_rel: 0, delta1: 1, delta3: 1 });
    const others = predicted[0]!.map((p, i) => (mask[i] && map[i]! > 0 && map[i]! <= most ? p : 77));
    expect(imageErrors(map, others, mask, most)).toEqual(found[0]);
  });
});

describe('the crop of Eigen et al.', () => {
  it('is rows 45 to 470 and columns 41 to 600 of 480 x 640, and about that share of other maps', () => {
    const whole = cropMask('eigen', { height: 480, width: 640 });
    const expected = whole.map((_, i) => {
      const [y, x] = [Math.floor(i / 640), i % 640];
      return Number(y >= 45 && y < 471 && x >= 41 && x < 601);
    });
    expect(Buffer.from(whole).equals(Buffer.from(expected))).toBe(true);
    const share = (crop: Uint8Array) => crop.reduce((a, b) => a + b, 0) / crop.length;
    expect(Math.abs(share(cropMask('eigen', { height: 224, width: 224 })) - share(whole))).toBeLessThan(
      0.005,
    );
    expect(share(cropMask('none', { height: 3, width: 4 }))).toBe(1);
  });
});

suiteNeeding('python')('errors of depth beside NumPy', () => {
  it('are equal to 1e-9', () => {
    const script = join(import.meta.dirname, '../../golden/make/depth_metrics.py');
    const input = JSON.stringify({
      truth: truth.map((map) => [...map]),
      predicted: predicted.map((map) => [...map]),
      counted: [...mask],
      most,
    });
    const { stdout, stderr } = spawnSync(python, [script], { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    const numpy = JSON.parse(stdout) as (number[] | null)[];
    for (const [i, errors] of found.entries()) {
      const expected = numpy[i] ?? METRICS.map(() => Number.NaN);
      for (const [m, metric] of METRICS.entries()) {
        if (Number.isNaN(expected[m])) expect(errors[metric]).toBeNaN();
        else expect(Math.abs(errors[metric] - expected[m]!), metric).toBeLessThan(1e-9);
      }
    }
  });
});
