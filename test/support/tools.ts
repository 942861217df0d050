// The tools that some suites need: how each is found on this machine, and what installs it.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaLibraries } from '../../src/engine/onnx/session.js';

/** A tool that a suite may need. */
export interface Tool {
  /** What is missing, in words, or undefined when the tool is here. Must be quick and must not load the tool. */
  missing(): string | undefined;
  /** The line that installs it. */
  install: string;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Folder of the Fashion-MNIST IDX files as Debian installs them. */
export const fashionMnist = '/usr/share/datasets/fashion-mnist';

/** The Python that runs the PyTorch comparison: CAPI_PYTHON, else the project's .venv, else python3. */
export const python =
  process.env.CAPI_PYTHON ??
  (existsSync(join(root, '.venv/bin/python')) ? join(root, '.venv/bin/python') : 'python3');

/** The browser that opens the pages: CAPI_CHROMIUM, else chromium on the path. */
export const chromium = process.env.CAPI_CHROMIUM ?? 'chromium';

/** The Vulkan driver in software that WebGPU is tested on: VK_ICD_FILENAMES, else the one that comes with Debian's chromium. */
export const swiftshader = process.env.VK_ICD_FILENAMES ?? '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Every tool by the name that CAPI_REQUIRE uses. */
export const tools: Record<string, Tool> = {
  'fashion-mnist': {
    missing: () =>
      existsSync(join(fashionMnist, 'train-images-idx3-ubyte.gz'))
        ? undefined
        : `no IDX files in ${fashionMnist}`,
    install: 'apt-get install dataset-fashion-mnist',
  },
  'tfjs-node': {
    missing: () =>
      ['@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu'].some(hasBinding)
        ? undefined
        : 'neither @tensorflow/tfjs-node nor tfjs-node-gpu is built',
    install: 'scripts/build-tfjs-node.sh',
  },
  chromium: {
    missing: () => {
      const found = spawnSync(chromium, ['--version']);
      return found.error === undefined && found.status === 0 ? undefined : `${chromium} does not start`;
    },
    install: 'apt-get install chromium',
  },
  'webgpu-swiftshader': {
    missing: () => {
      if (!existsSync(swiftshader)) return `no ${swiftshader}`;
      const loader = spawnSync('sh', ['-c', 'PATH=$PATH:/sbin ldconfig -p | grep -q libvulkan.so.1']);
      return loader.status === 0 ? undefined : 'no libvulkan.so.1';
    },
    install: 'apt-get install chromium libvulkan1',
  },
  'onnxruntime-cuda': {
    missing: () => {
      const { folder, missing } = cudaLibraries();
      if (missing.length > 0) return `${folder} lacks ${missing.join(', ')}`;
      return spawnSync('nvidia-smi', ['-L']).status === 0 ? undefined : 'nvidia-smi finds no GPU';
    },
    install: 'docs/gpu.md',
  },
  latex: {
    missing: () => {
      const found = spawnSync('pdflatex', ['--version']);
      return found.error === undefined && found.status === 0 ? undefined : 'pdflatex does not start';
    },
    install: 'apt-get install texlive-latex-base texlive-latex-recommended',
  },
  slurm: {
    missing: () => {
      const absent = ['sbatch', 'slurmctld', 'slurmd', 'munged'].find(
        (name) => spawnSync('sh', ['-c', `PATH=$PATH:/usr/sbin command -v ${name}`]).status !== 0,
      );
      if (absent !== undefined) return `no ${absent}`;
      return process.getuid?.() === 0 ? undefined : 'a cluster of its own needs root';
    },
    install: 'apt-get install slurm-wlm munge',
  },
  pandas: {
    missing: () => {
      const result = spawnSync(python, [
        '-c',
        'import importlib.util as u, sys; sys.exit(0 if u.find_spec("pandas") else 1)',
      ]);
      return result.status === 0 ? undefined : `${python} has no pandas`;
    },
    install: '.venv/bin/pip install -r benchmarks/speed/pytorch/requirements.txt',
  },
  python: {
    missing: () => {
      const code =
        'import importlib.util as u, sys; sys.exit(0 if u.find_spec("torch") and u.find_spec("numpy") else 1)';
      const result = spawnSync(python, ['-c', code]);
      if (result.error !== undefined) return `${python} does not start`;
      return result.status === 0 ? undefined : `${python} has no torch and numpy`;
    },
    install: 'python3 -m venv .venv && .venv/bin/pip install -r benchmarks/speed/pytorch/requirements.txt',
  },
};

/** True when a tfjs-node package is installed and its native binding was built. */
function hasBinding(name: string): boolean {
  try {
    const manifest = createRequire(join(root, 'package.json')).resolve(`${name}/package.json`);
    return existsSync(join(dirname(manifest), 'lib/napi-v8/tfjs_binding.node'));
  } catch {
    return false;
  }
}

/**
 * The tools of CAPI_REQUIRE (names separated by commas), whose absence fails a suite instead of skipping it.
 * @throws Error for a name that is no tool
 */
export function requiredTools(value = process.env.CAPI_REQUIRE ?? ''): string[] {
  const names = value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const name of names) {
    if (!Object.hasOwn(tools, name)) {
      throw new Error(`CAPI_REQUIRE names "${name}"; accepted: ${Object.keys(tools).join(', ')}`);
    }
  }
  return names;
}
