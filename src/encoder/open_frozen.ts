// Opens a frozen encoder from what the command line names: ours, official weights, any ONNX file, or a floor.
import { existsSync } from 'node:fs';
import type { Engine } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { openCapi } from './capi.js';
import { openFloor } from './floors.js';
import { openForeign } from './foreign.js';
import type { FrozenEncoder } from './frozen.js';
import { loadEncoder } from './load.js';

import { KNOWN_ENCODERS, parseEncoderSpec, type Size } from './spec.js';
import type { WeightsName } from './weight_groups.js';

export interface OpenOptions {
  engine: Engine;
  /** Images that one call of `run` takes. */
  batch: number;
  /** Input in pixels; what the spec says goes first, and without both the encoder's own. */
  size?: Size;
  /** Where a file holds both; default `ema`. What the spec says goes first; encoders without the choice ignore it. */
  weights?: WeightsName;
}

/**
 * Opens the encoder that `text` names: a run folder or a checkpoint of ours; `FILE.pth?preset=PRESET` (official PyTorch weights;
 * PRESET is a name or a YAML file with their sizes); a safetensors file of capi export, or any with official names and
 * `?preset=`; `FILE.onnx` with its adapter `FILE.onnx.yaml` or `?adapter=FILE`; `random:PRESET?seed=N` or `random:RUN`;
 * `pixels:PATCH?size=N`; `position:PATCH?size=N`. All but ONNX files take any `size` that the patch divides, `N` or `HxW`.
 * @throws UsageError for a spec or size that cannot be used, DataError for files that cannot
 */
export async function openFrozen(text: string, options: OpenOptions): Promise<FrozenEncoder> {
  if (!Number.isInteger(options.batch) || options.batch < 1) {
    throw new UsageError(`an encoder takes a batch of at least 1 image, not ${options.batch}`);
  }
  const spec = parseEncoderSpec(text);
  if (spec.scheme === 'pixels' || spec.scheme === 'position') return openFloor(spec, options);
  if (spec.scheme === 'path' && spec.place.endsWith('.onnx')) {
    if (!existsSync(spec.place)) throw new UsageError(`no encoder '${text}': accepted: ${KNOWN_ENCODERS}`);
    return openForeign(spec, options);
  }
  const loaded = await loadEncoder(spec, options.weights ? { weights: options.weights } : {});
  return openCapi(loaded, spec, options);
}
