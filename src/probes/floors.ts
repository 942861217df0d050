// The encoders that learned nothing, of the form of a given one: what any trained encoder must beat.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FrozenEncoder } from '../encoder/frozen.js';
import { parseEncoderSpec, sizeText, specText } from '../encoder/spec.js';

/**
 * Specs of the floors of an encoder: the same architecture untrained (where its sizes are known), the pixels of each patch, the position of
 * each patch; at its size and with its patch.
 */
export function floorSpecs(text: string, encoder: FrozenEncoder): string[] {
  const { scheme, place, options } = parseEncoderSpec(text);
  const size = sizeText(encoder.size);
  const floor = (kind: 'pixels' | 'position') =>
    specText({ scheme: kind, place: `${encoder.patch}` }, { size });
  const architecture = options.get('preset') ?? runOf(place);
  const random =
    scheme === 'path' && encoder.kind === 'capi' && architecture !== undefined
      ? [specText({ scheme: 'random', place: architecture }, { size: options.get('size') })]
      : [];
  return [...random, floor('pixels'), floor('position')];
}

/** The run folder that a path is or lies in. */
function runOf(path: string): string | undefined {
  for (let folder = path, up = 0; up < 3; folder = dirname(folder), up++) {
    if (existsSync(join(folder, 'config.yaml'))) return folder;
  }
  return undefined;
}
