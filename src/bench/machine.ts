// The machine that a figure was measured on: processor, its vector instructions, cores, memory, how busy it was.
import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { usableCores } from '../cores.js';
import { nvidiaDriver } from '../engine/gpu/machine.js';

export interface Machine {
  cpu: string;
  /** Of the instruction sets that matter to matrix products, those that the processor has. */
  flags: string[];
  /** Instructions that multiply bfloat16; without them PyTorch's autocast is emulated. */
  bfloat16: boolean;
  /** Hardware threads of the machine, and those that this process may use. */
  threads: number;
  usable: number;
  memory_gib: number;
  /** NVIDIA GPUs and their driver, as nvidia-smi names them. */
  gpus: string[];
  driver: string | null;
  platform: string;
  node: string;
  /** Load of the last minute before the benchmark began: above 0 something else ran. */
  load: number;
}

const INSTRUCTIONS = [
  ...['sse4_2', 'avx', 'fma', 'avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'avx512_fp16', 'avx_vnni'],
  ...['amx_tile', 'amx_bf16', 'amx_int8', 'amx_fp16', 'asimd', 'asimddp', 'bf16', 'sve', 'i8mm'],
];
const BFLOAT16 = ['avx512_bf16', 'amx_bf16', 'bf16'];

/** Instruction sets of /proc/cpuinfo; none where there is no such file. */
export function instructionSets(cpuinfo = readCpuinfo()): string[] {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  const has = new Set(line.split(/\s+/));
  return INSTRUCTIONS.filter((name) => has.has(name));
}

function readCpuinfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}

export const hasBfloat16 = (flags: readonly string[]): boolean =>
  BFLOAT16.some((name) => flags.includes(name));

export function machine(): Machine {
  const flags = instructionSets();
  const { driver } = nvidiaDriver({ root: '/', env: process.env });
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    flags,
    bfloat16: hasBfloat16(flags),
    threads: cpus().length,
    usable: usableCores(),
    memory_gib: Number((totalmem() / 2 ** 30).toFixed(1)),
    gpus: driver?.gpus ?? [],
    driver: driver?.version ?? null,
    platform: `${platform()}-${arch()} ${release()}`,
    node: process.version,
    load: Number(loadavg()[0]!.toFixed(2)),
  };
}
