// Which GPU a process is left with, and that a number never ends on the CPU.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { chooseGpu } from '../../src/engine/gpu/choose.js';
import { openEngine } from '../../src/engine/select.js';

describe('a GPU by its number', () => {
  it('is counted as nvidia-smi does, among all', () => {
    const environment: NodeJS.ProcessEnv = {};
    expect(chooseGpu(3, 'auto', environment)).toBe('cuda');
    expect(environment).toEqual({ CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: '3' });
  });

  it('is counted among those that a batch system left visible, however often it is asked for', () => {
    const environment: NodeJS.ProcessEnv = {
      CUDA_VISIBLE_DEVICES: '2,GPU-8932f937,7',
      CUDA_DEVICE_ORDER: 'FASTEST_FIRST',
    };
    for (let i = 0; i < 2; i++) chooseGpu(1, 'cuda', environment);
    expect(environment).toEqual({ CUDA_VISIBLE_DEVICES: 'GPU-8932f937', CUDA_DEVICE_ORDER: 'FASTEST_FIRST' });
    chooseGpu(2, 'cuda', environment);
    expect(environment.CUDA_VISIBLE_DEVICES).toBe('7');
  });

  it('beyond those is refused', () => {
    expect(() => chooseGpu(2, 'auto', { CUDA_VISIBLE_DEVICES: '0,1' })).toThrow(
      '--gpu 2 (engine.gpu): CUDA_VISIBLE_DEVICES=0,1 shows 2 GPUs, numbers 0 to 1',
    );
    expect(() => chooseGpu(1, 'auto', { CUDA_VISIBLE_DEVICES: '5' })).toThrow('shows 1 GPU, number 0');
    expect(() => chooseGpu(0, 'auto', { CUDA_VISIBLE_DEVICES: '' })).toThrow('shows no GPU');
  });

  it('goes with no other device', () => {
    expect(() => chooseGpu(0, 'cpu', {})).toThrow('use it with --device cuda, not cpu');
    expect(() => chooseGpu(0, 'webgpu', {})).toThrow('use it with --device cuda, not webgpu');
  });
});

describe('an engine on a numbered GPU', () => {
  afterEach(() => void vi.unstubAllEnvs());

  it('is never one on the CPU', async () => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', undefined);
    vi.stubEnv('CUDA_DEVICE_ORDER', 'PCI_BUS_ID');
    const opened = openEngine({ name: 'auto', device: 'auto', threads: 1, gpu: 0 });
    await expect(opened).rejects.toThrow(/CUDA provider is not installed|onnxruntime cannot run .* on cuda/);
  });
});
