// The flags that choose an engine, the same on every command that opens one, and what they ask for.
import { Flags } from '@oclif/core';
import { DEVICE_NAMES, ENGINE_NAMES } from '../config/engines.js';
import type { DeviceName, EngineName } from '../engine/program.js';
import type { EngineRequest } from '../engine/select.js';

export const engineFlags = {
  engine: Flags.string({ options: ENGINE_NAMES }),
  device: Flags.string({ options: DEVICE_NAMES }),
  gpu: Flags.integer({
    description: 'number of the NVIDIA GPU, from 0 as nvidia-smi counts, or among CUDA_VISIBLE_DEVICES',
    min: 0,
  }),
  threads: Flags.integer({
    description: 'threads that compute; half as many decode images (default: physical cores)',
    min: 1,
  }),
};

export interface EngineFlagValues {
  engine?: string;
  device?: string;
  gpu?: number;
  threads?: number;
}

/** The engine of an evaluation. */
export const evaluationEngine = (flags: EngineFlagValues): EngineRequest => ({
  name: (flags.engine ?? 'auto') as EngineName | 'auto',
  device: (flags.device ?? 'auto') as DeviceName | 'auto',
  gpu: flags.gpu ?? null,
  threads: flags.threads ?? null,
  purpose: 'evaluate',
});
