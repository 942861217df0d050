// What a Linux machine has for a GPU: the NVIDIA driver, shared libraries as the loader finds them, Vulkan drivers.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';

/** A machine to look at: this one, or a made one in a folder of files. */
export interface Machine {
  /** `/`, or the folder that stands for it. */
  root: string;
  env: Readonly<Record<string, string | undefined>>;
}

const at = (machine: Machine, path: string): string => join(machine.root, path);

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Folders in which the loader looks: LD_LIBRARY_PATH, those of /etc/ld.so.conf with what it includes, and its own. */
export function libraryFolders(machine: Machine): string[] {
  const cpu = arch() === 'arm64' ? 'aarch64' : 'x86_64';
  const configured = (path: string): string[] =>
    (textOf(at(machine, path)) ?? '').split('\n').flatMap((line) => {
      const words = line.replace(/#.*/, '').trim();
      const included = /^include\s+(\S+)\/\*\.conf$/.exec(words)?.[1];
      if (included !== undefined) {
        const files = filesIn(at(machine, included)).filter((file) => file.endsWith('.conf'));
        return files.flatMap((file) => configured(`${included}/${file}`));
      }
      return words.startsWith('/') ? [words] : [];
    });
  const own = [
    '/lib',
    '/usr/lib',
    '/lib64',
    '/usr/lib64',
    `/lib/${cpu}-linux-gnu`,
    `/usr/lib/${cpu}-linux-gnu`,
  ];
  const asked = (machine.env.LD_LIBRARY_PATH ?? '').split(':').filter(Boolean);
  return [...new Set([...asked, ...configured('/etc/ld.so.conf'), ...own])];
}

/** Path of a shared library by the name that programs ask for, such as `libcuda.so.1`. */
export function findLibrary(machine: Machine, name: string): string | undefined {
  return libraryFolders(machine)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(at(machine, path)));
}

/** The NVIDIA driver: its version, the CUDA version that it goes up to if it says so, and its GPUs. */
export interface Driver {
  version: string;
  cuda?: string;
  gpus: string[];
  from: 'nvidia-smi' | '/proc/driver/nvidia/version';
}

/** Asks nvidia-smi, else the kernel module. Undefined where there is neither; `failure` holds what nvidia-smi said. */
export function nvidiaDriver(machine: Machine): { driver?: Driver; failure?: string } {
  const smi = (...args: string[]): string =>
    execFileSync('nvidia-smi', args, {
      env: machine.env as NodeJS.ProcessEnv,
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  let failure: string | undefined;
  try {
    const rows = smi('--query-gpu=driver_version,name,memory.total', '--format=csv,noheader')
      .trim()
      .split('\n');
    const cells = rows.map((row) => row.split(',').map((cell) => cell.trim()));
    const cuda = /CUDA Version: *([\d.]+)/.exec(smi())?.[1];
    const gpus = cells.map(([, name, memory]) => (memory ? `${name} (${memory})` : name!));
    return { driver: { version: cells[0]![0]!, ...(cuda ? { cuda } : {}), gpus, from: 'nvidia-smi' } };
  } catch (error) {
    const { code, stdout, stderr, message } = error as NodeJS.ErrnoException &
      Record<'stdout' | 'stderr', string>;
    if (code !== 'ENOENT') failure = `${stdout || stderr || message}`.trim().split('\n')[0]!;
  }
  const version = /Kernel Module(?: for \S+)? +(\d[\d.]+)/.exec(
    textOf(at(machine, '/proc/driver/nvidia/version')) ?? '',
  )?.[1];
  if (version) return { driver: { version, gpus: [], from: '/proc/driver/nvidia/version' } };
  return failure === undefined ? {} : { failure };
}

/** -1, 0 or 1 as version `a` is older than, equal to or newer than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((v) => v.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

/** Description files of Vulkan drivers: those that the environment names, else those of the usual folders. */
export function vulkanDrivers(machine: Machine): string[] {
  const named = machine.env.VK_DRIVER_FILES ?? machine.env.VK_ICD_FILENAMES;
  if (named) return named.split(':').filter((path) => existsSync(at(machine, path)));
  const folders = ['/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/usr/share/vulkan/icd.d'];
  return folders.flatMap((folder) =>
    filesIn(at(machine, folder)).flatMap((file) => (file.endsWith('.json') ? [`${folder}/${file}`] : [])),
  );
}

/** Bytes of a library's head that hold the names of the libraries it needs. */
const HEAD = 1 << 25;

/** The CUDA and cuDNN libraries that a library names as needed, by the name that the loader looks for. */
export function cudaNeeds(path: string): string[] {
  const head = Buffer.alloc(HEAD);
  const file = openSync(path, 'r');
  const length = readSync(file, head, 0, HEAD, 0);
  closeSync(file);
  const names = head.toString('latin1', 0, length).matchAll(/lib(?:cu|nv)\w+\.so\.\d[\d.]*(?=\0)/g);
  return [...new Set([...names].map(([name]) => name))].filter((name) => name !== 'libcuda.so.1').sort();
}
