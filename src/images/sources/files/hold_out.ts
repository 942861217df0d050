// `?holdout=SHARE`: a test part for data that has none, the same on every machine.

import { sha256 } from '../../../base/hash.js';
import { UsageError } from '../../../errors.js';
import type { SourceUri } from '../../source.js';
import { numberOption } from '../uri.js';
import { sameForm } from './listing.js';

/** The options of a hold-out, with what they accept. */
export const HOLD_OUT_OPTIONS = {
  holdout: 'a share of the images above 0 and below 1, such as 0.2, that becomes the test part',
  seed: 'the seed of the hold-out, a whole number',
};

/** Which share of the images is held out, by which seed. */
export interface HoldOut {
  share: number;
  seed: number;
}

/** The options `holdout` and `seed` of a source. Throws UsageError for a share that is not between 0 and 1, or a seed without one. */
export function holdOutOption(uri: SourceUri): HoldOut | undefined {
  if (!uri.query.has('holdout')) {
    if (!uri.query.has('seed')) return undefined;
    throw new UsageError(`Image source '${uri.text}' has a seed but no holdout, which it would be of`);
  }
  const share = numberOption(uri, 'holdout', 0, { low: 0, high: 1, whole: false });
  if (share === 0 || share === 1) {
    throw new UsageError(
      `Image source '${uri.text}' has holdout=${share}; it must be above 0 and below 1, such as 0.2`,
    );
  }
  return { share, seed: numberOption(uri, 'seed', 0, { low: 0, high: Number.MAX_SAFE_INTEGER }) };
}

/** The options of a hold-out as a canonical URI and a record's id have them. */
export const holdOutSettings = (of: HoldOut | undefined): { holdout?: number; seed?: number } =>
  of === undefined ? {} : { holdout: of.share, ...(of.seed === 0 ? {} : { seed: of.seed }) };

/**
 * Places of the images of one side, ascending. In every group (a class) the names whose hash with the seed comes first are held out, the share
 * rounded to whole images, but at least one of two or more: a matter of names and seed alone.
 */
export function heldOut(
  names: readonly string[],
  groups: readonly (number | undefined)[] | undefined,
  { share, seed }: HoldOut,
  side: 'train' | 'test',
): number[] {
  const members = new Map<number | undefined, number[]>();
  for (const i of names.keys()) {
    const group = groups?.[i];
    const list = members.get(group);
    if (list) list.push(i);
    else members.set(group, [i]);
  }
  const held = new Set<number>();
  for (const list of members.values()) {
    const order = list
      .map((i) => ({ i, hash: sha256(`holdout ${seed} ${sameForm(names[i]!)}`) }))
      .sort((a, b) => (a.hash < b.hash ? -1 : 1));
    const count =
      list.length < 2 ? 0 : Math.min(list.length - 1, Math.max(1, Math.round(share * list.length)));
    for (const { i } of order.slice(0, count)) held.add(i);
  }
  return [...names.keys()].filter((i) => held.has(i) === (side === 'test'));
}
