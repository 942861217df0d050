// Small ablations for tests: a protocol that takes a second, and cells without what may differ between two runs of the same.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Records by cell, without time, host and path; the SHA-256 of counts stays, so that these are compared too. */
export function comparableCells(folder: string): Record<string, unknown> {
  const cells = join(folder, 'cells');
  return Object.fromEntries(
    readdirSync(cells)
      .filter((id) => existsSync(join(cells, id, 'cell.json'))) // a cell that failed has a note alone
      .sort()
      .map((id) => {
        const record = JSON.parse(readFileSync(join(cells, id, 'cell.json'), 'utf8'));
        const { created, seconds, environment, commands, run, sha256, ...rest } = record; // sha256: of all of it
        const { seconds: training, ...own } = run;
        return [id, { ...rest, run: own }];
      }),
  );
}

/** Writes a segmentation protocol that takes a second into `folder` and returns its path. */
export function tinyProtocol(folder: string): string {
  const file = join(folder, 'tiny.yaml');
  writeFileSync(
    file,
    `segmentation:
  transform: { image_size: null }
  validation_share: 0.2
  split_seed: 42
  standardise: true
  metric: official
  knn: { k: [3], metrics: [cosine] }
  logreg: { C: [0.01], max_iterations: 50, tolerance: 1e-6 }
  linear: null
`,
  );
  return file;
}
