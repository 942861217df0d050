// Cells of an ablation without what may differ between two runs of the same: times, host, paths, commands.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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
        const { created, seconds, environment, commands, run, ...rest } = record;
        const { seconds: training, ...own } = run;
        return [id, { ...rest, run: own }];
      }),
  );
}
