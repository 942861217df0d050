// Palettes of label maps: a label has one colour in all maps of a data set, else its number means another class from map to map.

import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import type { LabelMap } from '../decode/resample.js';
import type { ImageSource } from '../source.js';
import { spread } from '../survey.js';

/**
 * Compares label maps as they come: throws DataError, naming both files, the label and its colours, where a label that occurs has another colour than
 * in a map before. Maps without a palette, and colours of labels that do not occur, say nothing.
 */
export function paletteCheck(): (file: string, map: Pick<LabelMap, 'colours'>) => void {
  const known: ({ colour: number; file: string } | undefined)[] = new Array(256);
  return (file, { colours }) => {
    if (!colours) return;
    for (let label = 0; label < 256; label++) {
      if (colours[4 * label + 3] === 0) continue;
      const colour = (colours[4 * label]! << 16) | (colours[4 * label + 1]! << 8) | colours[4 * label + 2]!;
      const before = known[label];
      if (before === undefined) known[label] = { colour, file };
      else if (before.colour !== colour) {
        throw new DataError(
          `${shown(file)} has another palette than ${shown(before.file)}: label ${label} is ${hex(colour)} here and ${hex(before.colour)} there, so that numbers may mean another class from map to map; write all label maps with one palette, or as greyscale if the numbers are right`,
          { file, other: before.file, label },
        );
      }
    }
  };
}

/** Label maps of each set that are compared with those of the others. */
const COMPARED = 8;

/**
 * Compares palettes across sets, such as training and test set, by a few label maps of each (within a set, readAll compares all). Throws as paletteCheck
 * does, and what a label map cannot be read for. Sets without label maps, or whose first one has no palette, say nothing.
 */
export async function comparePalettes(
  sets: { source: ImageSource; indices: ArrayLike<number> }[],
): Promise<void> {
  const check = paletteCheck();
  for (const { source, indices } of sets) {
    for (const at of spread(indices.length, COMPARED)) {
      const map = await source.labelMap?.(indices[at]!);
      if (!map?.colours) break;
      check(`the label map of ${source.name(indices[at]!)}`, map);
    }
  }
}

const hex = (colour: number): string => `#${colour.toString(16).padStart(6, '0')}`;
