// The source of images and label maps in files: labels are those of a class or ignored, and mean one class in all maps.

import { join } from 'node:path';
import { DataError } from '../../../errors.js';
import { decodeLabelMap } from '../../decode/pixels.js';
import type { LabelMap } from '../../decode/resample.js';
import { paletteCheck } from '../../read/palettes.js';
import type { ImageSource } from '../../source.js';
import { mapSettings } from './contents.js';
import { type MapSource, mapSource, readMap } from './map_files.js';

/** What a source of images and label maps is made of. */
export interface LabelMapSource extends MapSource {
  /** Names of the labels from 0. */
  classes: string[];
  ignoreLabels: number[];
}

/**
 * The source of matched files. Its label maps throw DataError, naming the file, where they are not as large as their image or hold a label
 * that is neither of a class nor ignored.
 */
export function labelMapSource(made: LabelMapSource): ImageSource {
  const { root, pairs, classes, ignoreLabels } = made;
  const allowed = new Uint8Array(256);
  allowed.fill(1, 0, classes.length);
  for (const label of ignoreLabels) allowed[label] = 1;
  const checkPalette = paletteCheck();
  return {
    ...mapSource(made, mapSettings(classes, ignoreLabels)),
    labelMapClasses: classes,
    ignoreLabels,
    async labelMap(i) {
      const map = await readMap(made, i, 'label map', decodeLabelMap);
      const file = join(root, pairs[i]!.map);
      checkLabels(file, map, allowed, made);
      checkPalette(file, map);
      return map;
    },
  };
}

function checkLabels(
  file: string,
  map: LabelMap,
  allowed: Uint8Array,
  { classes, ignoreLabels }: LabelMapSource,
): void {
  if (map.data.every((label) => allowed[label] === 1)) return;
  const strange = [...new Set(map.data)].filter((label) => allowed[label] !== 1).sort((a, b) => a - b);
  const ignored = ignoreLabels.length > 0 ? `ignored are ${ignoreLabels.join(', ')}` : 'none are ignored';
  throw new DataError(
    `${file} holds ${strange.length === 1 ? 'the label' : 'the labels'} ${strange.slice(0, 5).join(', ')}${strange.length > 5 ? ', …' : ''}; labels go from 0 to ${classes.length - 1}, ${ignored}`,
    { file, labels: strange },
  );
}
