// Per-image counts of a cell's heads, compressed: what a bootstrap over test images draws from, long after the predictions are gone.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { DataError } from '../errors.js';
import { writeWhole } from '../files/write.js';

const whole = z.array(z.int().min(0));

/** Hits of a classification head: `hits[i]` of image `samples[i]`, in [0, 1]. */
const hits = z.object({ samples: whole, hits: z.array(z.number()) });

/** Pixels of a segmentation head, image by image, classes that appear alone: [class, hits, truth, predicted] one after another. */
const pixels = z.object({ classes: z.int(), ignore: whole, images: z.array(whole) });

const countsSchema = z.object({
  schema: z.literal(1),
  heads: z.array(
    z.object({
      /** Place of the test set in the cell's record. */
      test: z.int(),
      source: z.string(),
      head: z.string(),
      hits: hits.optional(),
      pixels: pixels.optional(),
    }),
  ),
  /** Heads left out because the file would have passed its limit. */
  left_out: z.array(z.string()),
});
export type CellCounts = z.infer<typeof countsSchema>;
export type HeadCounts = CellCounts['heads'][number];

/** Bytes of a counts file at most. */
export const MOST_BYTES = 1e6;

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
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const file = `counts-${sha256.slice(0, 12)}.json.gz`;
    await writeWhole(join(folder, file), bytes);
    return { file, sha256, left_out };
  }
}

/** @throws DataError when the file is missing, damaged, or not the one that the record names */
export async function readCounts(
  folder: string,
  { file, sha256 }: { file: string; sha256: string },
): Promise<CellCounts> {
  const path = join(folder, file);
  const bytes = await readFile(path).catch((error) => {
    throw new DataError(`cannot read ${path}: ${(error as Error).message}`);
  });
  if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
    throw new DataError(
      `${path} is not the file that its cell was written with: restore it, or delete the cell's folder and run it again`,
    );
  }
  return countsSchema.parse(JSON.parse(gunzipSync(bytes).toString('utf8')));
}
