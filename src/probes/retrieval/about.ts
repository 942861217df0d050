// Image retrieval, as lists and tables know it.
import type { Metric, TaskAbout } from '../about.js';

/** What a protocol may ask recall and precision at. */
export const DEPTHS = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 100, 1000] as const;

const share = (title: string): Metric => ({ title, unit: 'share', better: 'higher' });

export const retrieval: TaskAbout = {
  title: 'image retrieval',
  section: 'retrieval',
  unit: 'queries',
  metrics: {
    map: share('mAP'),
    ...Object.fromEntries(DEPTHS.map((k) => [`recall@${k}`, share(`R@${k}`)])),
    ...Object.fromEntries(DEPTHS.map((k) => [`precision@${k}`, share(`mP@${k}`)])),
  },
  usual: ['same class', 'medium'],
  heads: {},
  bounds: [],
  headlines: [
    { source: 'average_patch', head: 'cosine', metric: 'map', convention: 'same class' },
    { source: 'average_patch', head: 'cosine', metric: 'map', convention: 'medium' },
  ],
};
