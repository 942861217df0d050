// What `capi export` does and prints.

import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkWritable } from '../base/files/writable.js';
import { shown } from '../base/text.js';
import { exportEncoder } from '../encoder/export.js';
import { parseSize, sizeText } from '../encoder/spec.js';
import { DataError } from '../errors.js';

export interface ExportFlags {
  encoder: string;
  out: string;
  weights?: 'ema' | 'student';
  resolution?: string;
  threads?: number;
  force: boolean;
  log(text: string): void;
}

/** @throws UsageError for a file that exists or an encoder that cannot be exported, DataError for files that cannot be read or written */
export async function runExport(flags: ExportFlags): Promise<object> {
  const { encoder, out, weights, resolution, threads, force } = flags;
  if (!existsSync(dirname(out)))
    throw new DataError(`cannot write ${out}: its folder ${dirname(out)} does not exist`);
  await checkWritable(dirname(out));
  const result = await exportEncoder(encoder, {
    out,
    force,
    onMessage: (text) => process.stderr.write(`${text}\n`),
    ...(weights ? { weights } : {}),
    ...(threads ? { threads } : {}),
    ...(resolution ? { size: parseSize(resolution, '--resolution') } : {}),
  });
  const megabytes = (result.bytes / 1e6).toFixed(1);
  flags.log(`${out}  ${megabytes} MB, from ${result.encoder}`);
  for (const note of result.notes) flags.log(`note       ${shown(note)}`);
  if (result.difference !== undefined) {
    flags.log(`${result.files[1]}  how to read it: capi eval ... ${out}`);
    flags.log(
      `compared at ${sizeText(result.size!)} px: largest difference ${result.difference.toExponential(1)} of the largest value`,
    );
  }
  return result;
}
