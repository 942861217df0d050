// Image classification, as lists and tables know it.
import type { TaskAbout } from '../about.js';

export const cls: TaskAbout = {
  title: 'image classification',
  section: 'classification',
  unit: 'test images',
  metrics: { top1: { title: 'top-1', unit: 'share', better: 'higher' } },
  usual: ['any label'],
  heads: { knn: 'k-NN' },
  bounds: [],
  headlines: [{ head: 'attentive', source: 'patches', metric: 'top1', convention: 'any label' }],
};
