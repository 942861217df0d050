// The clustering works through its positions in runs: however long they are, it says the same.
import { expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { cluster, valuesAtOnce } from '../../src/teacher/clustering.js';
import { tf } from '../../src/tensor/tf.js';
import { relativeError } from '../support/golden.js';

it('is the same in runs of some positions and of all', () => {
  const [positions, batch, width, prototypes] = [200, 2, 8, 6];
  const random = stream(0, 'clustering');
  const normal = (shape: [number, number]) =>
    tf.tensor2d(random.fillNormal(new Float32Array(shape[0] * shape[1]), 1), shape);
  const layer = {
    'layer.weight': normal([prototypes, width]),
    'layer.bias': tf.reshape(normal([1, prototypes]), [-1]),
  };
  const patches = normal([positions * batch, width]);
  const options = {
    ...{ temperature: 0.06, predictionTemperature: 0.12, iterations: 3, variant: 'positionwise' as const },
  };
  const [few, all] = [1, 1 << 25].map((atOnce) => cluster(layer, patches, batch, { ...options, atOnce }));
  for (const key of ['assignments', 'loss', 'positionUse'] as const) {
    expect(relativeError(few![key].dataSync(), all![key].dataSync()), key).toBeLessThan(1e-6);
  }
  for (const name of Object.keys(layer)) {
    const [a, b] = [few!, all!].map((c) => c.gradients[name]!.dataSync());
    expect(relativeError(a!, b!), name).toBeLessThan(1e-5);
  }
});

it('takes more at once on a GPU', () => {
  expect(valuesAtOnce('cuda')).toBeGreaterThan(valuesAtOnce('cpu'));
  expect(valuesAtOnce('webgpu')).toBe(valuesAtOnce('cuda'));
});
