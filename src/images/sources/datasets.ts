// Data sets that a package manager installs at a known place.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface DataSet {
  name: string;
  folder: string;
  found: boolean;
  /** Sources that read it. */
  sources: string[];
  /** The line that installs it. */
  get: string;
}

const FASHION_MNIST = '/usr/share/datasets/fashion-mnist';

/** The known data sets, each with whether it is here. */
export function findDataSets(): DataSet[] {
  return [
    {
      name: 'Fashion-MNIST',
      folder: FASHION_MNIST,
      found: existsSync(join(FASHION_MNIST, 'train-images-idx3-ubyte.gz')),
      sources: [`fashion-scenes:${FASHION_MNIST}`, `idx:${FASHION_MNIST}`],
      get: 'apt-get install dataset-fashion-mnist (Debian, Ubuntu), or put its four IDX files into any folder',
    },
  ];
}
