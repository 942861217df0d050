// Whether the rows of a table may stand in one table: made under one protocol card, on the same test images.
import { DataError } from '../../errors.js';
import { protocolKey, sharedCard } from '../../results/comparable.js';
import type { Study, StudyCell } from './study.js';

/** Cells that were evaluated otherwise than the baseline's of the same evaluation. */
export interface Mixture {
  /** The differences, in words; none where all rows are comparable. */
  readonly faults: readonly string[];
  /** Ids of the cells that are not as the baseline's. */
  readonly others: ReadonlySet<string>;
}

/**
 * Looks for cells of one evaluation under several protocols.
 * @throws DataError naming them, unless `goOn`
 */
export function checkProtocols(study: Study, goOn: boolean): Mixture {
  const faults: string[] = [];
  const others = new Set<string>();
  for (const { name } of study.plan.evaluations) {
    const cells = study.cells.filter(({ evaluation, record }) => evaluation === name && record?.protocol);
    const kinds = new Map<string, StudyCell[]>();
    const ofBase = (c: StudyCell): boolean => c.arm === study.plan.baseline;
    for (const cell of [...cells].sort((a, b) => Number(ofBase(b)) - Number(ofBase(a)))) {
      const key = kindOf(cell);
      kinds.set(key, [...(kinds.get(key) ?? []), cell]);
    }
    const [first, ...rest] = [...kinds.values()];
    for (const other of rest) {
      for (const { id } of other) others.add(id);
      const [of, to] = [cardOf(other[0]!), cardOf(first![0]!)];
      const keys = Object.keys({ ...to, ...of }).filter(
        (key) => JSON.stringify(to[key]) !== JSON.stringify(of[key]),
      );
      faults.push(
        `evaluation ${name}: ${armsOf(study, other)} and ${armsOf(study, first!)} were evaluated under different protocols (${keys.join(', ')} differ)`,
      );
    }
  }
  if (faults.length > 0 && !goOn) {
    throw new DataError(
      `${study.folder}: ${faults.join('; ')}. Their numbers cannot be compared; --mixed-protocols makes the report all the same and says so`,
    );
  }
  return { faults, others };
}

/** Pictures that are drawn at the size of the arm's input: others for each size, and the arm's own. */
const DRAWN = /^synthetic:(?!.*[?&]size=)/;

/** Protocol, and the images that heads learnt from and are judged by. */
const kindOf = ({ record }: StudyCell): string => {
  const { train, tests } = record!;
  const sets = [...(train && !DRAWN.test(train.source) ? [train] : []), ...tests];
  return JSON.stringify([protocolKey(record!), ...sets.map(({ identity, images }) => [identity, images])]);
};

const cardOf = ({ record }: StudyCell): Record<string, unknown> => ({
  ...sharedCard(record!),
  train: record!.train,
  tests: record!.tests,
});

/** Names of the cells' arms, in the order of the plan. */
const armsOf = ({ plan }: Study, cells: readonly StudyCell[]): string =>
  plan.arms.flatMap(({ name }, arm) => (cells.some((c) => c.arm === arm) ? [name] : [])).join(', ');
