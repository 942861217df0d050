// Depth estimation, as lists and tables know it.
import type { TaskAbout } from '../about.js';

export const depth: TaskAbout = {
  title: 'depth',
  section: 'depth',
  unit: 'test images',
  metrics: {
    rmse: { title: 'RMSE (m)', unit: 'number', better: 'lower' },
    abs_rel: { title: 'AbsRel', unit: 'number', better: 'lower' },
    delta1: { title: 'δ1', unit: 'share', better: 'higher' },
    delta2: { title: 'δ2', unit: 'share', better: 'higher' },
    delta3: { title: 'δ3', unit: 'share', better: 'higher' },
  },
  usual: ['-'],
  heads: {},
  bounds: ['oracle', 'constant'],
  headlines: [
    { head: 'bins', source: 'patches', metric: 'rmse', convention: '-' },
    { head: 'bins', source: 'patches', metric: 'delta1', convention: '-' },
  ],
};
