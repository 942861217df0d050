// Palettes of label maps: a label has one colour in all maps of a data set, else its number means another class from map to map.

import { DataError } from '../errors.js';
import { shown } from '../files/text.js';
import type { LabelMap } from './resample.js';

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

const hex = (colour: number): string => `#${colour.toString(16).padStart(6, '0')}`;
