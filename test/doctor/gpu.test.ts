// `capi doctor --gpu` on made machines, from one without a driver to one with everything, and its conformance run on the CPU.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { conformanceOf, residentRate, stepsText } from '../../src/doctor/gpu.js';
import {
  compareVersions,
  libraryFolders,
  type Machine,
  vulkanDrivers,
} from '../../src/engine/gpu/machine.js';
import { gpuSteps, type Packages, type Step } from '../../src/engine/gpu/steps.js';
import { OnnxEngine } from '../../src/engine/onnx/session.js';
import type { Engine } from '../../src/engine/program.js';

const made: string[] = [];
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

/** A machine of these files (path to text), with this nvidia-smi on its PATH. */
function machine(files: Record<string, string>, smi?: string, env: Record<string, string> = {}): Machine {
  const root = mkdtempSync(join(tmpdir(), 'capi-machine-'));
  made.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  mkdirSync(join(root, 'bin'));
  if (smi !== undefined) {
    writeFileSync(join(root, 'bin/nvidia-smi'), `#!/bin/sh\n${smi}\n`);
    chmodSync(join(root, 'bin/nvidia-smi'), 0o755);
  }
  return { root, env: { PATH: join(root, 'bin'), ...env } };
}

/** An nvidia-smi of this driver. */
const smi = (driver: string, cuda: string): string =>
  `case "$*" in *query-gpu*) echo "${driver}, NVIDIA A100, 81920 MiB";; *) echo "| NVIDIA-SMI ${driver}   Driver Version: ${driver}   CUDA Version: ${cuda} |";; esac`;

const folder = '/app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64';
const nothing: Packages = {
  tensorflow: { failure: '@tensorflow/tfjs-node-gpu is not installed' },
  onnxruntime: { folder, missing: ['libonnxruntime_providers_cuda.so'] },
};
const everything: Packages = {
  tensorflow: { package: '@tensorflow/tfjs-node-gpu', device: 'cuda', version: '2.9.1' },
  onnxruntime: { folder, missing: [] },
};
const cuda11 = [
  'cudart.so.11.0',
  'cublas.so.11',
  'cublasLt.so.11',
  'cufft.so.10',
  'curand.so.10',
  'cusolver.so.11',
  'cusparse.so.11',
  'cudnn.so.8',
];
const cuda12 = ['cudart.so.12', 'cublas.so.12', 'cublasLt.so.12', 'cufft.so.11', 'cudnn.so.9'];
const libraries = (where: string, names: string[]) =>
  Object.fromEntries(names.map((name) => [`${where}/lib${name}`, '']));

function step(steps: Step[], name: string): Step {
  const found = steps.find((s) => s.step.includes(name));
  if (!found) throw new Error(`no step ${name} among ${steps.map((s) => s.step).join(', ')}`);
  return found;
}

describe('the steps', () => {
  it('on a machine without a driver: each says what is not there and what to type', () => {
    const steps = gpuSteps(machine({}), nothing);
    expect(steps.map(({ ok }) => ok)).toEqual(Array(7).fill(false));
    for (const { next } of steps)
      expect(next).toMatch(/^(sudo apt-get|python3 -m pip|npm install|node |scripts\/)/);
    expect(step(steps, 'driver').found).toBe('no nvidia-smi, no /proc/driver/nvidia');
    expect(step(steps, 'provider').next).toBe(
      'scripts/install-cuda-provider.sh # Linux on x86-64, for CUDA 13',
    );
    const text = stepsText(steps);
    expect(text).toMatch(/^1\. NO {3}NVIDIA driver, for CUDA: no nvidia-smi/);
    expect(text.match(/^ +next: /gm)).toHaveLength(7);
  });

  it('a driver that is too old for one of the two, or for both', () => {
    const middle = step(gpuSteps(machine({}, smi('470.82.01', '11.4')), nothing), 'driver');
    expect(middle.ok).toBe(false);
    expect(middle.found).toBe(
      "driver 470.82.01, CUDA up to 11.4 (nvidia-smi): NVIDIA A100 (81920 MiB); too old: onnxruntime's CUDA 12 at least 525.60.13",
    );
    const old = step(gpuSteps(machine({}, smi('440.33.01', '10.2')), nothing), 'driver');
    expect(old.found).toMatch('too old: tensorflow needs at least 450.80.02, onnxruntime');
    expect(old.next).toMatch('nvidia-driver');
  });

  it('a driver that nvidia-smi cannot reach, and one without nvidia-smi', () => {
    const failing = machine(
      {},
      'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9',
    );
    expect(step(gpuSteps(failing, nothing), 'driver')).toMatchObject({
      ok: false,
      found: expect.stringContaining('could not communicate'),
    });
    const proc =
      'NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n';
    expect(step(gpuSteps(machine({ '/proc/driver/nvidia/version': proc }), nothing), 'driver')).toEqual({
      step: 'NVIDIA driver',
      for: 'CUDA',
      ok: true,
      found: 'driver 550.54.15 (/proc/driver/nvidia/version)',
    });
  });

  it('a driver without libraries: the missing ones by name, and the packages that hold them', () => {
    const some = machine(
      {
        '/usr/lib/x86_64-linux-gnu/libcuda.so.1': '',
        '/usr/lib/aarch64-linux-gnu/libcuda.so.1': '',
        ...libraries('/opt/cuda/lib64', cuda11.slice(0, 7)),
        '/etc/ld.so.conf': 'include /etc/ld.so.conf.d/*.conf\n',
        '/etc/ld.so.conf.d/cuda.conf': '# CUDA\n/opt/cuda/lib64\n',
      },
      smi('550.54.15', '12.4'),
    );
    const steps = gpuSteps(some, nothing);
    expect(step(steps, 'driver').ok).toBe(true);
    expect(step(steps, 'libcuda').ok).toBe(true);
    const training = step(steps, 'CUDA 11');
    expect(training.found).toBe('7 of 8 libraries; missing: libcudnn.so.8');
    expect(training.next).toBe(
      `python3 -m pip install --target ~/.cache/capi/cuda11 'nvidia-cudnn-cu11<9' && export LD_LIBRARY_PATH="$(echo ~/.cache/capi/cuda11/nvidia/*/lib | tr ' ' ':'):$LD_LIBRARY_PATH"`,
    );
    const features = step(steps, 'CUDA 12');
    expect(features.found).toBe(
      '1 of 6 libraries; missing: libcudart.so.12, libcublas.so.12, libcublasLt.so.12, libcufft.so.11, libcudnn.so.9',
    );
    expect(features.next).toMatch(
      "nvidia-cuda-runtime-cu12 nvidia-cublas-cu12 nvidia-cufft-cu12 'nvidia-cudnn-cu12>=9,<10'",
    );
  });

  it('with everything there nothing is left to type', () => {
    const whole = machine(
      {
        ...libraries('/cuda', ['cuda.so.1', 'vulkan.so.1', ...cuda11, ...cuda12]),
        '/usr/share/vulkan/icd.d/nvidia_icd.json': '{}',
      },
      smi('550.54.15', '12.4'),
      { LD_LIBRARY_PATH: '/absent:/cuda' },
    );
    const steps = gpuSteps(whole, everything);
    expect(steps.filter(({ ok, next }) => !ok || next !== undefined)).toEqual([]);
    expect(step(steps, 'Vulkan').found).toBe('/cuda/libvulkan.so.1; /usr/share/vulkan/icd.d/nvidia_icd.json');
    expect(stepsText(steps)).not.toMatch('next:');
  });

  it('asks the CUDA provider itself what it needs', () => {
    const needs = ['libcudart.so.13', 'libcublas.so.13', 'libcudnn.so.9', 'libcuda.so.1', 'libc.so.6'];
    const { root, env } = machine(
      { '/provider/libonnxruntime_providers_cuda.so': `\x7fELF\0${needs.join('\0')}\0` },
      smi('550.54.15', '12.4'),
    );
    const packages = { ...everything, onnxruntime: { folder: join(root, 'provider'), missing: [] } };
    const steps = gpuSteps({ root, env }, packages);
    expect(step(steps, 'CUDA 13').found).toBe(
      '0 of 3 libraries; missing: libcublas.so.13, libcudart.so.13, libcudnn.so.9',
    );
    expect(step(steps, 'CUDA 13').next).toMatch(
      "'nvidia-cublas==13.*' 'nvidia-cuda-runtime==13.*' 'nvidia-cudnn-cu13>=9,<10'",
    );
    expect(step(steps, 'driver').found).toMatch("onnxruntime's CUDA 13 at least 580.65.06");
  });

  it('a package that loads without finding a GPU, and one for the CPU', () => {
    const [gpu, cpu] = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'].map((name) =>
      step(
        gpuSteps(machine({}), { ...nothing, tensorflow: { package: name, device: 'cpu', version: '2.9.1' } }),
        'tfjs',
      ),
    );
    expect(gpu).toMatchObject({ ok: false, found: expect.stringContaining('it found no GPU') });
    expect(cpu).toMatchObject({ ok: false, next: 'npm install @tensorflow/tfjs-node-gpu@4.22.0' });
  });

  it('Vulkan drivers that the environment names go first, and each half of Vulkan is named', () => {
    const files = { '/usr/share/vulkan/icd.d/lvp_icd.json': '{}', '/x/swiftshader.json': '{}' };
    expect(vulkanDrivers(machine(files))).toEqual(['/usr/share/vulkan/icd.d/lvp_icd.json']);
    expect(vulkanDrivers(machine(files, undefined, { VK_ICD_FILENAMES: '/x/swiftshader.json' }))).toEqual([
      '/x/swiftshader.json',
    ]);
    expect(step(gpuSteps(machine(files), nothing), 'Vulkan').found).toBe('no libvulkan.so.1');
  });
});

it('versions are compared by their numbers', () => {
  expect(compareVersions('550.54', '525.60.13')).toBe(1);
  expect(compareVersions('525.60.13', '525.60.13')).toBe(0);
  expect(compareVersions('99.1', '525')).toBe(-1);
});

it('the loader looks where LD_LIBRARY_PATH says first', () => {
  expect(libraryFolders(machine({}, undefined, { LD_LIBRARY_PATH: '/a:/b' })).slice(0, 2)).toEqual([
    '/a',
    '/b',
  ]);
});

describe('the conformance run', () => {
  const onnx = new OnnxEngine({ threads: 1 });
  it('passes on the CPU', async () => {
    const { ops, model, ok } = await conformanceOf(onnx);
    expect(ok).toBe(true);
    for (const deviation of [ops, model]) {
      expect(deviation).toBeGreaterThan(0); // two engines, not one twice
      expect(deviation).toBeLessThan(2e-5); // rounding through two blocks and back
    }
  });

  it('fails on an engine whose results are off by a thousandth, or are no numbers', async () => {
    const spoilt = (by: (x: number) => number): Engine => ({
      name: 'onnx',
      device: 'cpu',
      version: '0',
      async load(program, fixed) {
        const executable = await onnx.load(program, fixed);
        const run: typeof executable.run = async (...given) =>
          Object.fromEntries(Object.entries(await executable.run(...given)).map(([n, v]) => [n, v.map(by)]));
        return {
          run,
          setState: (s) => executable.setState(s),
          getState: (n) => executable.getState(n),
          dispose: () => executable.dispose(),
        };
      },
    });
    expect(await conformanceOf(spoilt((x) => x * 1.001))).toMatchObject({ ok: false });
    expect((await conformanceOf(spoilt(() => Number.NaN))).model).toBe(Number.POSITIVE_INFINITY);
  });

  it('measures products', async () => {
    const { gflops, size } = await residentRate(onnx, 256);
    expect(size).toBe(256);
    expect(gflops).toBeGreaterThan(0.01);
  });
});
