// Protocol files of users: a misspelt or missing key is named, with what was meant.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadProtocol } from '../../src/probes/protocol.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-protocol-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The quick protocol with one text in place of another. */
function changed(from: string, to: string): string {
  const text = readFileSync('benchmarks/protocols/quick.yaml', 'utf8');
  expect(text).toContain(from);
  const file = join(folder, 'own.yaml');
  writeFileSync(file, text.replaceAll(from, to));
  return file;
}

it.each([
  [
    'depth',
    'max_depth:',
    'max_dept:',
    /own.yaml: depth has the unknown key max_dept; did you mean max_depth\?$/,
  ],
  [
    'seg',
    'tolerance:',
    'tolerence:',
    /segmentation.logreg has the unknown key tolerence; did you mean tolerance\?$/,
  ],
  ['cls', 'shorter_side:', 'zzz:', /classification.transform has the unknown key zzz$/],
  ['cls', 'split_seed: 42', 'split_seed: none', /classification.split_seed: .*expected number/],
] as const)('%s: %s written %s', async (task, from, to, says) => {
  await expect(loadProtocol(changed(from, to), task)).rejects.toThrow(says);
});
