// Channel mean and standard deviation that the program normalises pixels with.
import type { Config } from '../config/index.js';
import type { ImageSource } from './source.js';
import { channelStats } from './survey.js';

/** ImageNet's channel statistics in [0, 1] units, which the field normalises with. */
export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** In [0, 1] units: ImageNet's, the data set's own (of at most 2,000 images), or those of the config. */
export async function pixelStatistics(
  normalise: Config['data']['normalise'],
  source: ImageSource,
): Promise<{ mean: number[]; std: number[] }> {
  if (normalise === 'imagenet') return { mean: [...IMAGENET.mean], std: [...IMAGENET.std] };
  return normalise === 'dataset' ? channelStats(source, 2000) : normalise;
}
