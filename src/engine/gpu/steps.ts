// The way from nothing to a GPU that works, step by step: what was found, and the one line to type next.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  compareVersions,
  cudaNeeds,
  findLibrary,
  type Machine,
  nvidiaDriver,
  vulkanDrivers,
} from './machine.js';

/** One step of `capi doctor --gpu`. */
export interface Step {
  step: string;
  /** What it is needed for. */
  for: string;
  ok: boolean;
  found: string;
  /** What to type; absent where nothing is to be done. */
  next?: string;
}

/** What the packages say: whether tfjs-node-gpu loads, and where onnxruntime-node looks for its CUDA provider. */
export interface Packages {
  tensorflow: { package: string; device: string; version: string } | { failure: string };
  onnxruntime: { folder: string; missing: string[] };
}

/** Lowest driver for programs made with a major version of CUDA (NVIDIA's minor version compatibility, Linux). */
const LOWEST_DRIVER: Readonly<Record<string, string>> = { 11: '450.80.02', 12: '525.60.13', 13: '580.65.06' };

/** What libtensorflow 2.9.1, which tfjs-node-gpu 4.22.0 brings, opens on its first use of a GPU. */
const TENSORFLOW_NEEDS = [
  'libcudart.so.11.0',
  'libcublas.so.11',
  'libcublasLt.so.11',
  'libcufft.so.10',
  'libcurand.so.10',
  'libcusolver.so.11',
  'libcusparse.so.11',
  'libcudnn.so.8',
];
/** What onnxruntime's CUDA provider needs as long as its library is not there to be asked. */
const ONNXRUNTIME_NEEDS = [
  'libcudart.so.12',
  'libcublas.so.12',
  'libcublasLt.so.12',
  'libcufft.so.11',
  'libcurand.so.10',
  'libcudnn.so.9',
];

/** PyPI packages that hold the libraries, by major version of CUDA. */
function packageOf(library: string, cuda: string): string {
  const part = /^lib(cudart|cublas|cufft|curand|cusolver|cusparse|cudnn|nvrtc)/.exec(library)?.[1];
  const name = part === 'cudart' ? 'cuda-runtime' : part === 'nvrtc' ? 'cuda-nvrtc' : part;
  if (part === 'cudnn') return cuda === '11' ? "'nvidia-cudnn-cu11<9'" : `'nvidia-cudnn-cu${cuda}>=9,<10'`;
  return Number(cuda) >= 13 ? `'nvidia-${name}==${cuda}.*'` : `nvidia-${name}-cu${cuda}`;
}

/** Installs the libraries into a folder of their own and puts it where the loader looks. */
function pipLine(missing: readonly string[], cuda: string): string {
  const packages = [...new Set(missing.map((library) => packageOf(library, cuda)))].join(' ');
  const folder = `~/.cache/capi/cuda${cuda}`;
  return `python3 -m pip install --target ${folder} ${packages} && export LD_LIBRARY_PATH="$(echo ${folder}/nvidia/*/lib | tr ' ' ':'):$LD_LIBRARY_PATH"`;
}

/** Looks at the machine. Nothing is loaded and nothing changed. */
export function gpuSteps(machine: Machine, packages: Packages): Step[] {
  const provider = join(packages.onnxruntime.folder, 'libonnxruntime_providers_cuda.so');
  const needs = existsSync(provider) ? cudaNeeds(provider) : ONNXRUNTIME_NEEDS;
  const cuda = /\.so\.(\d+)/.exec(needs.find((name) => name.startsWith('libcudart')) ?? '')?.[1] ?? '12';
  return [
    driverStep(machine, cuda),
    libcudaStep(machine),
    librariesStep(machine, 'CUDA 11 and cuDNN 8', 'tensorflow on cuda', TENSORFLOW_NEEDS, '11'),
    tensorflowStep(packages.tensorflow),
    librariesStep(machine, `CUDA ${cuda} and cuDNN 9`, 'onnx on cuda', needs, cuda),
    providerStep(packages.onnxruntime),
    vulkanStep(machine),
  ];
}

function driverStep(machine: Machine, onnxruntimeCuda: string): Step {
  const what = { step: 'NVIDIA driver', for: 'CUDA' };
  const { driver, failure } = nvidiaDriver(machine);
  const install =
    'sudo apt-get install nvidia-driver # Debian; Ubuntu: sudo ubuntu-drivers install; a container: docker run --gpus all';
  if (!driver) {
    const found = failure === undefined ? 'no nvidia-smi, no /proc/driver/nvidia' : `nvidia-smi: ${failure}`;
    return { ...what, ok: false, found, next: install };
  }
  const { version, gpus, from } = driver;
  const goesUpTo = driver.cuda ? `, CUDA up to ${driver.cuda}` : '';
  const listed = gpus.length > 0 ? `: ${gpus.join(', ')}` : '';
  const lowest = (major: string): string => LOWEST_DRIVER[major] ?? LOWEST_DRIVER['13']!;
  const old = (major: string): boolean => compareVersions(version, lowest(major)) < 0;
  const found = `driver ${version}${goesUpTo} (${from})${listed}`;
  const tooOld = [
    ...(old('11') ? [`tensorflow needs at least ${lowest('11')}`] : []),
    ...(old(onnxruntimeCuda)
      ? [`onnxruntime's CUDA ${onnxruntimeCuda} at least ${lowest(onnxruntimeCuda)}`]
      : []),
  ];
  if (tooOld.length === 0) return { ...what, ok: true, found };
  return { ...what, ok: false, found: `${found}; too old: ${tooOld.join(', ')}`, next: install };
}

function libcudaStep(machine: Machine): Step {
  const what = { step: 'libcuda.so.1', for: 'CUDA' };
  const found = findLibrary(machine, 'libcuda.so.1');
  if (found) return { ...what, ok: true, found };
  return {
    ...what,
    ok: false,
    found: 'not where the loader looks; it comes with the driver',
    next: 'sudo apt-get install libcuda1 # Debian; in a container: docker run --gpus all',
  };
}

function librariesStep(
  machine: Machine,
  step: string,
  purpose: string,
  needs: readonly string[],
  cuda: string,
): Step {
  const what = { step, for: purpose };
  const missing = needs.filter((name) => !findLibrary(machine, name));
  if (missing.length === 0) return { ...what, ok: true, found: `all ${needs.length} libraries` };
  return {
    ...what,
    ok: false,
    found: `${needs.length - missing.length} of ${needs.length} libraries; missing: ${missing.join(', ')}`,
    next: pipLine(missing, cuda),
  };
}

function tensorflowStep(found: Packages['tensorflow']): Step {
  const what = { step: '@tensorflow/tfjs-node-gpu', for: 'tensorflow on cuda' };
  const next = 'npm install @tensorflow/tfjs-node-gpu@4.22.0';
  if ('failure' in found) return { ...what, ok: false, found: found.failure, next };
  const text = `${found.package}, libtensorflow ${found.version}, runs on ${found.device}`;
  if (found.device === 'cuda') return { ...what, ok: true, found: text };
  if (found.package.endsWith('-gpu')) {
    return {
      ...what,
      ok: false,
      found: `${text}: it found no GPU`,
      next: 'TF_CPP_MIN_LOG_LEVEL=0 capi doctor # says why',
    };
  }
  return { ...what, ok: false, found: text, next };
}

function providerStep({ folder, missing }: Packages['onnxruntime']): Step {
  const what = { step: "onnxruntime's CUDA provider", for: 'onnx on cuda' };
  if (missing.length === 0) return { ...what, ok: true, found: folder };
  return {
    ...what,
    ok: false,
    found: `${folder} lacks ${missing.join(', ')}`,
    next: 'scripts/install-cuda-provider.sh # Linux on x86-64, for CUDA 13',
  };
}

function vulkanStep(machine: Machine): Step {
  const what = { step: 'Vulkan', for: 'onnx on webgpu' };
  const loader = findLibrary(machine, 'libvulkan.so.1');
  const drivers = vulkanDrivers(machine);
  if (loader && drivers.length > 0) return { ...what, ok: true, found: `${loader}; ${drivers.join(', ')}` };
  const lacks = [
    ...(loader ? [] : ['no libvulkan.so.1']),
    ...(drivers.length > 0 ? [] : ['no driver (ICD) file']),
  ];
  return {
    ...what,
    ok: false,
    found: lacks.join(', '),
    next: 'sudo apt-get install libvulkan1 mesa-vulkan-drivers # Debian; the NVIDIA driver brings its own: nvidia-vulkan-icd',
  };
}
