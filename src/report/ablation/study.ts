// The records of one ablation, read back: its plan, the cells that are finished, and why others are not.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isTorn } from '../../base/files/torn.js';
import { shown } from '../../base/text.js';
import { DataError, UsageError } from '../../errors.js';
import { metricOf } from '../../probes/tasks.js';
import {
  CELL,
  type CellRecord,
  cellFolder,
  findCell,
  readCellFailure,
  readCellStop,
  readPictures,
} from '../../results/cell.js';
import { type CellCounts, readCounts } from '../../results/counts.js';
import { type AblationPlan, PLAN, readPlan } from '../../results/plan.js';

/** A cell of the plan with what is known of it. */
export interface StudyCell {
  readonly id: string;
  readonly arm: number;
  readonly seed: number;
  readonly probeSeed: number;
  readonly evaluation: string;
  readonly record: CellRecord | undefined;
  /** Where there is no record: why its last attempt failed, if it was tried. */
  readonly failure: string | undefined;
  /** Where it neither finished nor failed: why its last attempt was stopped, if it was begun. */
  readonly stopped: string | undefined;
}

export class Study {
  private readonly counts = new Map<string, Promise<CellCounts>>();

  private constructor(
    readonly folder: string,
    readonly plan: AblationPlan,
    readonly cells: readonly StudyCell[],
  ) {}

  /** @throws UsageError when the folder is no ablation's, DataError for a damaged record */
  static async open(folder: string): Promise<Study> {
    if (!existsSync(join(folder, PLAN))) {
      throw new UsageError(
        `${folder} holds no ablation (no ${PLAN}): name the folder that capi ablate --out wrote`,
      );
    }
    const plan = await readPlan(folder);
    const cells: StudyCell[] = [];
    for (const [arm, { cells: own }] of plan.arms.entries()) {
      for (const { id, seed, probe_seed: probeSeed, evaluation } of own) {
        let torn: string | undefined;
        const record = await findCell(folder, id).catch(async (error) => {
          if (!(await isTorn(error))) throw error;
          torn = `${(error as Error).message}; capi ablate with the same grid makes it again`;
          return undefined;
        });
        const planned = { seed, probe_seed: probeSeed, evaluation };
        for (const [key, value] of Object.entries(planned)) {
          const own = record?.[key as keyof typeof planned];
          if (!record || own === value) continue;
          throw new DataError(
            `${cellFolder(folder, id)} is not the cell of the plan: its ${key} is ${own}, planned is ${value}. Run capi ablate with the grid again`,
          );
        }
        if (record) checkResults(join(cellFolder(folder, id), CELL), record);
        const failure = record ? undefined : (torn ?? (await readCellFailure(folder, id)));
        const stopped = record || failure ? undefined : await readCellStop(folder, id);
        cells.push({ id, arm, seed, probeSeed, evaluation, record, failure, stopped });
      }
    }
    if (cells.every(({ record }) => !record))
      throw new DataError(`${folder} has no finished cell yet: capi ablate --status shows where they stand`);
    return new Study(folder, plan, cells);
  }

  /** Per-image counts of a finished cell; undefined for a run that diverged. @throws DataError */
  async countsOf(cell: StudyCell): Promise<CellCounts | undefined> {
    const { record } = cell;
    if (!record?.counts) return undefined;
    let found = this.counts.get(cell.id);
    if (!found) {
      found = readCounts(cellFolder(this.folder, cell.id), record.counts);
      this.counts.set(cell.id, found);
    }
    return found;
  }

  /** Bytes of the feature pictures of an arm's first seed that has some. */
  async pictureOf(arm: number): Promise<Buffer | undefined> {
    const cell = this.cells.find((c) => c.arm === arm && c.record?.pictures);
    return cell && readPictures(cellFolder(this.folder, cell.id), cell.record!);
  }
}

/** @throws DataError for a share that is none, a score that is there twice or of no image, and an interval that is none: each would be printed as any other */
function checkResults(file: string, { results }: CellRecord): void {
  const seen = new Set<string>();
  for (const { task, test, source, head, metric, convention, value, interval, n } of results) {
    const what = `${metric} of ${head}`;
    const share = metricOf(task, metric).unit === 'share';
    const [least, most] = share ? [0, 1] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    if (value !== null && !(value >= least && value <= most))
      throw new DataError(`${file}: ${what} is ${value}, and a score lies between 0 and 1`);
    if (value !== null && n < 1) throw new DataError(`${file}: ${what} is of ${n} test images`);
    const { low, high } = interval ?? { low: null, high: null };
    if (low !== null && high !== null && !(low >= least && low <= high && high <= most))
      throw new DataError(
        `${file}: the interval of ${what} is [${low}, ${high}], and its bounds lie in order${share ? ' between 0 and 1' : ''}`,
      );
    const key = JSON.stringify([test, source, head, metric, convention]);
    if (seen.has(key)) throw new DataError(`${file}: ${what} on ${shown(test)} is there twice`);
    seen.add(key);
  }
}
