// What must be as it was before a record is made again: its images and its protocol.

import { hashOf } from '../base/hash.js';
import { DataError } from '../errors.js';
import { openSource } from '../images/index.js';
import { loadProtocol } from '../probes/protocol.js';
import type { EvaluationRecord } from '../results/record.js';

/** A set of images as records know it. */
type Known = { source: string; identity: string };

/**
 * Whether the images of a record are still those that it knew. Records of older versions knew files by names and sizes: then a line says so.
 * @throws DataError naming the source that holds other images now
 */
export async function checkImages(train: Known | null, tests: readonly Known[]): Promise<string[]> {
  const notes: string[] = [];
  const sets = [
    ...(train ? [{ set: train, split: 'train' as const }] : []),
    ...tests.map((set) => ({ set, split: 'test' as const })),
  ];
  for (const { set, split } of sets) {
    const source = await openSource(set.source, { split, whole: true });
    if ((await source.identity()) === set.identity) continue;
    if ((await source.formerIdentity?.()) === set.identity) {
      notes.push(
        `the record knew the files of ${set.source} by names and sizes: that their contents are the same cannot be checked`,
      );
      continue;
    }
    throw new DataError(
      `${set.source} holds other images or labels now than when the record was made: restore them, or evaluate anew with capi eval`,
      { source: set.source },
    );
  }
  return notes;
}

/** @throws DataError where the protocol of a record's name has other settings now */
export async function checkProtocol({ task, protocol }: EvaluationRecord): Promise<void> {
  const { settings } = await loadProtocol(protocol.name, task);
  if (hashOf(settings) === hashOf(protocol.card.settings)) return;
  throw new DataError(
    `protocol ${protocol.name} has other settings now than when the record was made, which holds them in protocol.card: restore it, or evaluate anew with capi eval`,
  );
}
