// Per-image counts of a cell's heads, compressed: what a bootstrap over test images draws from, long after the predictions are gone.
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { writeWhole } from '../base/files/write.js';
import { sha256 } from '../base/hash.js';
import { DataError } from '../errors.js';
import { parseAs } from './record.js';

const MOST = 2 ** 32;
const whole = z.array(z.int().min(0).max(MOST));

/** Hits of a classification head: `hits[i]` of image `samples[i]`, in [0, 1]. */
const hits = z.object({ samples: whole, hits: z.array(z.number().min(0).max(1)) });

/** Pixels of a segmentation head, image by image, classes that appear alone: [class, hits, truth, predicted] one after another. */
const pixels = z.object({ classes: z.int().min(1).max(65536), ignore: whole, images: z.array(whole) });

/** Scores of images by metric: those of image `samples[i]` at place i, null where it has none. */
const values = z.object({ samples: whole, scores: z.record(z.string(), z.array(z.number().nullable())) });

const countsSchema = z.object({
  schema: z.literal(1),
  heads: z.array(
    z.object({
      /** Place of the test set in the cell's record. */
      test: z.int().min(0),
      source: z.string(),
      head: z.string(),
      hits: hits.optional(),
      values: values.optional(),
      pixels: pixels.optional(),
    }),
  ),
  /** Heads left out because the file would have passed its limit. */
  left_out: z.array(z.string()),
});
export type CellCounts = z.infer<typeof countsSchema>;
export type HeadCounts = CellCounts['heads'][number];

/** Bytes of a counts file at most, and of what it may hold: 50,000 images in a megabyte unpack to some tens of them. */
export const MOST_BYTES = 1e6;
const MOST_UNPACKED = 128 * 2 ** 20;

/**
 * Writes the counts beside a cell's record. Heads that do not fit into MOST_BYTES are left out from the end on, so put those first that
 * tables are made of.
 */
export async function writeCounts(
  folder: string,
  heads: readonly HeadCounts[],
): Promise<{ file: string; sha256: string; left_out: string[] }> {
  for (let kept = heads.length; ; kept--) {
    const left_out = heads.slice(kept).map(({ source, head }) => `${head} of ${source}`);
    const counts: CellCounts = { schema: 1, heads: heads.slice(0, kept), left_out };
    const bytes = gzipSync(JSON.stringify(counts), { level: 9 });
    if (bytes.length > MOST_BYTES && kept > 0) continue;
    const digest = sha256(bytes);
    const file = `counts-${digest.slice(0, 12)}.json.gz`;
    await writeWhole(join(folder, file), bytes);
    return { file, sha256: digest, left_out };
  }
}

/** Throws DataError when the file is missing, damaged, not the one that the record names, or holds counts that cannot be. */
export async function readCounts(
  folder: string,
  named: { file: string; sha256: string },
): Promise<CellCounts> {
  const path = join(folder, named.file);
  const fail = (what: string, fault: string): DataError =>
    new DataError(`${path} ${what}: restore it, or delete the cell's folder and run it again`, {
      path,
      fault,
    });
  const found = await lstat(path).catch((error) => {
    throw new DataError(`cannot read ${path}: ${(error as Error).message}`, { path, fault: 'missing' });
  });
  if (!found.isFile() || found.size > MOST_BYTES) throw fail('cannot be a file of counts', 'foreign');
  const bytes = await readFile(path);
  if (sha256(bytes) !== named.sha256) throw fail('is not the file that its cell was written with', 'changed');
  let value: unknown;
  try {
    value = JSON.parse(gunzipSync(bytes, { maxOutputLength: MOST_UNPACKED }).toString('utf8'));
  } catch (error) {
    throw fail(`cannot be unpacked (${(error as Error).message})`, 'foreign');
  }
  const counts = parseAs(countsSchema, value, (what) => fail(`holds no counts (${what})`, 'foreign'));
  for (const head of counts.heads) {
    const wrong = impossible(head);
    if (wrong)
      throw fail(`holds counts that cannot be (${head.head} of ${head.source}: ${wrong})`, 'foreign');
  }
  return counts;
}

/** What is wrong with the counts of a head, in words. */
function impossible({ hits, values, pixels }: HeadCounts): string | undefined {
  if ([hits, values, pixels].filter((kind) => kind !== undefined).length !== 1)
    return 'none or several of hits, values and pixels';
  const scored = hits ? { samples: hits.samples, scores: { hits: hits.hits } } : values;
  if (scored) {
    const { samples } = scored;
    for (const [name, list] of Object.entries(scored.scores))
      if (list.length !== samples.length) return `${list.length} ${name} of ${samples.length} images`;
    const at = samples.findIndex((sample, i) => i > 0 && sample <= samples[i - 1]!);
    return at < 0 ? undefined : `image ${samples[at]} after image ${samples[at - 1]}`;
  }
  for (const [image, row] of pixels!.images.entries()) {
    if (row.length % 4 !== 0) return `${row.length} numbers of image ${image}, not four a class`;
    for (let e = 0, last = -1; e < row.length; e += 4) {
      const [id, hit, truth, predicted] = row.slice(e, e + 4) as [number, number, number, number];
      if (id <= last || id >= pixels!.classes)
        return `class ${id} of image ${image}, ${id <= last ? `after class ${last}` : `of ${pixels!.classes}`}`;
      if (hit > truth || hit > predicted)
        return `image ${image} has ${hit} hits of class ${id} in ${truth} pixels, ${predicted} predicted`;
      last = id;
    }
  }
  return undefined;
}
