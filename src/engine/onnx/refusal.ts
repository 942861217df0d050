// The words for a model that onnxruntime does not load.

import { shown } from '../../base/text.js';
import { EngineError } from '../../errors.js';
import type { DeviceName } from '../program.js';
import { noAdapter } from './webgpu.js';

/** One line that names the model, the device and onnxruntime's reason. */
export function refusal(what: string, device: DeviceName, { message }: Error): EngineError {
  if (message.includes('WebGPU adapter')) return new EngineError(noAdapter(message));
  const reason = /CUDA failure \d+: [^;]*[^; ]/.exec(message)?.[0] ?? message.split('\n')[0]!;
  return new EngineError(`onnxruntime cannot run ${what} on ${device}: ${shown(reason)}`);
}
