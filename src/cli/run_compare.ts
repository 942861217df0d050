// What `capi eval compare` does and prints.
import { existsSync, statSync } from 'node:fs';
import { EXIT, UsageError } from '../errors.js';
import type { RecordFile } from '../probes/check.js';
import { compareRecords } from '../probes/compare.js';
import { findRecord, readRecord } from '../results/record.js';
import { comparisonTable } from './eval_table.js';

/** A record by its path, or the newest of a folder. @throws UsageError when there is none */
async function openRecord(path: string): Promise<RecordFile> {
  if (!existsSync(path))
    throw new UsageError(`no record ${path}; accepted: a record.json of capi eval, or its folder`);
  if (!statSync(path).isDirectory()) return { file: path, record: await readRecord(path) };
  const found = await findRecord(path);
  if (!found)
    throw new UsageError(`${path} holds no record: its evaluation is not finished, or it is another folder`);
  return found;
}

/** Compares two records and returns what --json prints. */
export async function runCompare(a: string, b: string, log: (text: string) => void): Promise<object> {
  const [first, second] = [await openRecord(a), await openRecord(b)];
  const comparisons = await compareRecords(first, second);
  const sameProtocol = first.record.protocol.hash === second.record.protocol.hash;
  const warnings = sameProtocol
    ? []
    : ['the records are of different protocols or settings: see protocol.card of both'];
  const unknown = comparisons.filter(
    ({ difference: { low, high } }) => !(Number.isFinite(low) && Number.isFinite(high)),
  );
  if (unknown.length > 0)
    warnings.push(
      `${unknown.length} of ${comparisons.length} differences have no interval: nothing can be said of them`,
    );
  if (unknown.length === comparisons.length) process.exitCode = EXIT.unexpected;
  log(comparisonTable(first, second, comparisons));
  for (const warning of warnings) log(`warning: ${warning}`);
  return {
    a: { record: first.file, encoder: first.record.encoder.name, protocol: first.record.protocol.hash },
    b: { record: second.file, encoder: second.record.encoder.name, protocol: second.record.protocol.hash },
    comparisons,
    warnings,
  };
}
