// Whether the rows of a table may stand in one table: made under one protocol card, on the same test images.
import { DataError } from '../../errors.js';
import { protocolKey, sharedCard } from '../../results/comparable.js';
import type { Study } from './study.js';

/**
 * Differences among the cells of each evaluation, in words; none where all are comparable.
 * @throws DataError naming them, unless `goOn`
 */
export function checkProtocols(study: Study, goOn: boolean): string[] {
  const faults: string[] = [];
  for (const { name } of study.plan.evaluations) {
    const cells = study.cells.filter(({ evaluation, record }) => evaluation === name && record?.protocol);
    const kinds = new Map<string, { card: Record<string, unknown>; arms: Set<string> }>();
    for (const { arm, record } of cells) {
      const key = `${protocolKey(record!)} ${record!.tests.map(({ identity, images }) => `${identity} ${images}`).join(' ')}`;
      const kind = kinds.get(key) ?? {
        card: { ...sharedCard(record!), tests: record!.tests },
        arms: new Set(),
      };
      kind.arms.add(study.plan.arms[arm]!.name);
      kinds.set(key, kind);
    }
    if (kinds.size < 2) continue;
    const [first, ...rest] = [...kinds.values()];
    for (const other of rest) {
      const keys = Object.keys({ ...first!.card, ...other.card }).filter(
        (key) => JSON.stringify(first!.card[key]) !== JSON.stringify(other.card[key]),
      );
      faults.push(
        `evaluation ${name}: ${[...other.arms].join(', ')} and ${[...first!.arms].join(', ')} were evaluated under different protocols (${keys.join(', ')} differ)`,
      );
    }
  }
  if (faults.length > 0 && !goOn) {
    throw new DataError(
      `${study.folder}: ${faults.join('; ')}. Their numbers cannot be compared; --mixed-protocols makes the report all the same and says so`,
    );
  }
  return faults;
}
