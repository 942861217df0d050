// Which of several NVIDIA GPUs the process uses: CUDA shows it one, so that every library in it computes on the same.
import { UsageError } from '../../errors.js';
import type { DeviceName } from '../program.js';

/** What an environment showed before anything was chosen: indices count in it. */
const shownBy = new WeakMap<object, string | undefined>();

/**
 * Leaves the process the GPU that is number `index` (from 0) of those it sees: all, in the order of nvidia-smi, or those that
 * CUDA_VISIBLE_DEVICES names, as batch systems set it. To be called before a library of CUDA is loaded.
 * @returns the device that is meant
 * @throws UsageError for another device than CUDA's, or an index beyond CUDA_VISIBLE_DEVICES
 */
export function chooseGpu(index: number, device: DeviceName | 'auto', environment = process.env): 'cuda' {
  if (device === 'cpu' || device === 'webgpu')
    throw new UsageError(
      `--gpu ${index} (engine.gpu) counts NVIDIA GPUs: use it with --device cuda, not ${device}`,
    );
  if (!shownBy.has(environment)) shownBy.set(environment, environment.CUDA_VISIBLE_DEVICES);
  const shown = shownBy.get(environment);
  const listed = shown?.split(',').filter(Boolean); // an empty one hides every GPU
  const chosen = listed ? listed[index] : `${index}`;
  if (chosen === undefined) {
    const counts = ['no GPU', '1 GPU, number 0'][listed!.length];
    throw new UsageError(
      `--gpu ${index} (engine.gpu): CUDA_VISIBLE_DEVICES=${shown} shows ${counts ?? `${listed!.length} GPUs, numbers 0 to ${listed!.length - 1}`}`,
    );
  }
  environment.CUDA_DEVICE_ORDER ??= 'PCI_BUS_ID';
  environment.CUDA_VISIBLE_DEVICES = chosen;
  return 'cuda';
}
