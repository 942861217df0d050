// Semantic segmentation, as lists and tables know it.
import type { TaskAbout } from '../about.js';

export const seg: TaskAbout = {
  title: 'segmentation',
  section: 'segmentation',
  unit: 'test images',
  metrics: {
    miou: { title: 'mIoU', unit: 'share', better: 'higher' },
    accuracy: { title: 'pixel acc.', unit: 'share', better: 'higher' },
  },
  usual: ['official'],
  heads: { knn: 'k-NN', logreg: 'log. reg.' },
  bounds: ['oracle'],
  headlines: [
    { head: 'knn', source: 'patches', metric: 'miou', convention: 'official' },
    { head: 'logreg', source: 'patches', metric: 'miou', convention: 'official' },
  ],
};
