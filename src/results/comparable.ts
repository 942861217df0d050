// Whether two cells of an ablation were evaluated alike: their protocol cards without what an arm's own config decides.
import { hashOf } from '../base/hash.js';
import type { CellRecord } from './cell.js';

/**
 * The part of a cell's protocol card that has to be equal in all arms. Left out: `features` (an arm may lack a source; its other rows are comparable),
 * and size, mean and std of the input. Those are the run's own (model.image_size, data.normalise) unless the protocol sets a size, which then stands in
 * `settings`: an arm that varies them is evaluated as it was trained, under the same protocol.
 */
export function sharedCard(cell: CellRecord): Record<string, unknown> {
  const { features, input, ...card } = cell.protocol?.card ?? {};
  const { size, mean, std, ...shown } = (input ?? {}) as Record<string, unknown>;
  return { ...card, input: shown };
}

/** Equal for cells whose numbers may stand in one column: worked out from the card, so that cells of any age compare. */
export const protocolKey = (cell: CellRecord): string => hashOf(sharedCard(cell));
