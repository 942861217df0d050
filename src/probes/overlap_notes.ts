// The guard against test images that are among the training images: refused above a share, said below it.
import { DataError } from '../errors.js';
import { findOverlap, type Overlap, overlapWarning } from '../images/index.js';
import type { EvaluationData } from './dataset.js';

/** Images of each set that are looked at, spread evenly: a bound on the time. */
const LIMIT = 20_000;
/** Shares of the test images above which an evaluation is refused: equal in every pixel, and these with near-duplicates (see findOverlap). */
export const MOST_EQUAL = 0.01;
export const MOST_NEAR = 0.1;

const ALLOW = 'allow it with --allow-overlap (allow_overlap: true in a config or grid)';

interface ComparedSets {
  readonly train: EvaluationData;
  readonly tests: readonly { name: string; data: EvaluationData }[];
}

/** What a test set shares with the training set, among the images that were compared. */
export interface FoundOverlap {
  readonly same: number;
  readonly near: number;
  readonly images: number;
}

/** Throws DataError where a test set is the training set, known without reading an image. */
export function refuseSameImages({ train, tests }: ComparedSets, allow: boolean): void {
  if (allow) return;
  const same = tests.find(({ data }) => data.imagesIdentity === train.imagesIdentity);
  if (!same) return;
  const { source } = same.data;
  const n = source.length;
  throw new DataError(
    `the training and the test images are the same ${n} images of ${source.uri} (for example ${source.name(0)}): ${otherwise(source.uri, source.split)}, or ${ALLOW}${(source.remarks ?? []).map((remark) => `; ${remark}`).join('')}`,
    { train: train.source.uri, test: source.uri, same: n, images: n },
  );
}

/** How to get a test set: a hold-out where a folder has no parts, else another part. */
function otherwise(uri: string, split: string): string {
  if (split !== 'all' || !/^(folder|pairs):/.test(uri))
    return 'name another part or source for one of the two';
  const held = `'${uri}${uri.includes('?') ? '&' : '?'}holdout=0.2'`;
  return `hold a fifth of them out with --train ${held} --test ${held}`;
}

/**
 * Compares every test set with the training set: what each shares with it, and a line for those that share anything. `handled` says what
 * the task does with those (see ProbeTask.overlap).
 * @throws DataError for an image that cannot be read, and unless `allow` or `handled`, for an overlap above MOST_EQUAL or MOST_NEAR
 */
export async function overlapNotes(
  { train, tests }: ComparedSets,
  allow: boolean,
  handled?: string,
): Promise<{ notes: string[]; found: FoundOverlap[] }> {
  const notes: string[] = [];
  const found: FoundOverlap[] = [];
  for (const { name, data } of tests) {
    const overlap = await findOverlap(train.source, data.source, { limit: LIMIT });
    const warning = overlapWarning(overlap, 'training', name);
    const { same, near } = sharesOf(overlap, train.source.length);
    const tooMuch = same > MOST_EQUAL || near > MOST_NEAR;
    if (tooMuch && !allow && handled === undefined) refuse(warning!, same > MOST_EQUAL);
    const why = handled ?? (tooMuch ? 'allowed by --allow-overlap' : undefined);
    if (warning) notes.push(why === undefined ? warning : `${warning}; ${why}`);
    found.push({ same: overlap.same.length, near: overlap.near.length, images: overlap.images.b });
  }
  return { notes, found };
}

/** Throws DataError where a finished record has an overlap that is not allowed now. */
export function refuseRecorded(
  tests: readonly { source: string; overlap?: FoundOverlap | undefined }[],
  allow: boolean,
): void {
  for (const { source, overlap } of allow ? [] : tests) {
    if (!overlap) continue;
    const { same, near, images } = overlap;
    if (same / images <= MOST_EQUAL && (same + near) / images <= MOST_NEAR) continue;
    refuse(
      `${same} of ${images} images of ${source} are also among the training images (equal pixels), ${near} more nearly so`,
      same / images > MOST_EQUAL,
    );
  }
}

function refuse(what: string, equal: boolean): never {
  const bound = equal
    ? `above ${100 * MOST_EQUAL} % of the test images`
    : `above ${100 * MOST_NEAR} % with near-duplicates`;
  throw new DataError(
    `${what}: ${bound}, so that scores would say little; take them out of one side, or ${ALLOW}`,
  );
}

/** Shares of the test images that the training images hold too; where only a part of these was looked at, as many again in the rest. */
function sharesOf({ images, same, near }: Overlap, training: number): { same: number; near: number } {
  const seen = images.b * Math.min(1, images.a / training);
  return { same: same.length / seen, near: (same.length + near.length) / seen };
}
