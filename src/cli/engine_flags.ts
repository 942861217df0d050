// The flags that choose an engine, the same on every command that opens one, and what they ask for.
import { Flags, type Interfaces } from '@oclif/core';
import { DEVICE_NAMES, ENGINE_NAMES } from '../config/engines.js';
import type { EngineRequest } from '../engine/select.js';

export const engineFlags = {
  engine: Flags.option({ options: ENGINE_NAMES })(),
  device: Flags.option({ options: DEVICE_NAMES })(),
  gpu: Flags.integer({
    description: 'number of the NVIDIA GPU, from 0 as nvidia-smi counts, or among CUDA_VISIBLE_DEVICES',
    min: 0,
  }),
  threads: Flags.integer({
    description: 'threads that compute; half as many decode images (default: physical cores)',
    min: 1,
  }),
};

/** The engine of an evaluation. */
export const evaluationEngine = (flags: Interfaces.InferredFlags<typeof engineFlags>): EngineRequest => ({
  name: flags.engine ?? 'auto',
  device: flags.device ?? 'auto',
  gpu: flags.gpu ?? null,
  threads: flags.threads ?? null,
  purpose: 'evaluate',
});
