// The encoders and images of an evaluation, opened and checked against each other before anything is computed.
import type { DigestOptions } from '../base/files/digests.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import { openFrozen } from '../encoder/open_frozen.js';
import type { Engine } from '../engine/program.js';
import { drawnSize, openSource } from '../images/index.js';
import { chooseData, type EvaluationData } from './dataset.js';
import { refuseSameImages } from './overlap_notes.js';
import type { LoadedProtocol } from './protocol.js';
import type { ProbeTask, Sets, TaskSettings } from './task.js';

/** Images of one call of an encoder. */
const BATCH = 32;

/** Opens an encoder at the size of the protocol. */
export function openEncoder(
  o: { readonly engine: Engine; readonly weights: 'ema' | 'student' },
  text: string,
  { settings }: Pick<LoadedProtocol, 'settings'>,
): Promise<FrozenEncoder> {
  const side = settings.transform.image_size;
  return openFrozen(text, {
    engine: o.engine,
    batch: BATCH,
    weights: o.weights,
    ...(side === null ? {} : { size: { height: side, width: side } }),
  });
}

/** What names the images of an evaluation. */
export interface SetsRequest {
  readonly train: string;
  readonly tests: readonly string[];
  /** Images of each set at most, spread evenly. */
  readonly limit: number | null;
  /** Evaluate although test images are among the training images. */
  readonly allowOverlap?: boolean;
}

/**
 * Opens the images of an evaluation, generated ones at the size that an encoder sees.
 * @throws DataError where they do not go together: the same images, no labels, or labels that mean other classes
 */
export async function openSets(
  task: Pick<ProbeTask<TaskSettings>, 'checkSource' | 'checkSets' | 'overlap'>,
  o: SetsRequest,
  { size }: { readonly size: { readonly height: number; readonly width: number } },
  reading: (set: string) => DigestOptions = () => ({}),
): Promise<Sets> {
  const open = async (uri: string, split: 'train' | 'test'): Promise<EvaluationData> => {
    const source = await openSource(uri, { split, whole: true, size: drawnSize(size.height) });
    return chooseData(source, o.limit, reading(uri));
  };
  const tests = [];
  for (const uri of o.tests) tests.push({ name: uri, data: await open(uri, 'test') });
  const sets = { train: await open(o.train, 'train'), tests };
  refuseSameImages(sets, o.allowOverlap || task.overlap !== undefined);
  for (const { source } of allSets(sets)) task.checkSource?.(source);
  task.checkSets?.(sets);
  return sets;
}

/** Training images, then the test sets. */
export const allSets = ({ train, tests }: Sets): EvaluationData[] => [
  train,
  ...tests.map(({ data }) => data),
];
