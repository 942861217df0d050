// `capi doctor`: which engines load here, on which devices, how fast, and what to type to get the others.

import { Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base.js';
import { columns } from '../src/cli/table.js';
import { EngineError } from '../src/errors.js';

export default class Doctor extends BaseCommand<typeof Doctor> {
  static override summary =
    'Show the engines of this machine, how fast they are, and how to get a missing one.';
  static override description =
    `Loads every engine on every device that it knows and times a product of two float32 matrices.
Takes some seconds. Ends with an error when no engine loads. With --gpu: from nothing to a GPU that works, step by step (driver, CUDA and cuDNN
libraries, packages, Vulkan), each with the line to type next; then a small conformance run and a speed figure on every GPU engine that loads.`;
  static override flags = {
    gpu: Flags.boolean({ description: 'look at the GPU, and say what is missing' }),
  };

  async run(): Promise<unknown> {
    const { flags } = await this.parse(Doctor);
    if (flags.gpu) {
      const { doctorGpu } = await import('../src/doctor/gpu.js');
      return doctorGpu((text) => this.log(text));
    }
    const os = await import('node:os');
    const { usableCores } = await import('../src/cores.js');
    const { engineText } = await import('../src/engine/extractor.js');
    const { openEngine, probeEngines, reasonOf } = await import('../src/engine/select.js');
    const engines = await probeEngines();
    if (!engines.some((report) => report.loads)) {
      throw new EngineError(
        `no engine loads: ${engines.map((report) => report.detail).join('; ')}. Try: npm ci`,
      );
    }
    const auto = await openEngine({ name: 'auto', device: 'auto', threads: null });
    const machine = {
      capi: this.config.version,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      cpu: os.cpus()[0]?.model ?? 'unknown',
      cores: usableCores(),
      processors: os.cpus().length,
      memory_gib: Math.round(os.totalmem() / 2 ** 30),
    };
    this.log(`capi ${machine.capi}, Node ${machine.node}, ${machine.platform}`);
    this.log(
      `${machine.cores} usable cores of ${machine.processors} processors (${machine.cpu}), ${machine.memory_gib} GiB\n`,
    );
    const rows = engines.map((report) => [
      report.engine,
      report.device,
      report.loads ? 'yes' : 'no',
      report.gflops?.toPrecision(3) ?? '',
      report.version ?? '',
      report.loads ? report.detail : '',
    ]);
    this.log(columns([['engine', 'device', 'loads', 'GFLOP/s', 'version', ''], ...rows]));
    this.log(`\n--engine auto takes ${engineText(auto)}.\nFor a GPU, step by step: capi doctor --gpu`);
    for (const report of engines.filter((one) => !one.loads)) {
      this.log(`\n${report.engine} on ${report.device} does not load: ${reasonOf(report)}`);
      if (report.fix !== undefined) this.log(`  to get it: ${report.fix}`);
    }
    return {
      ...machine,
      auto: {
        engine: auto.name,
        device: auto.device,
        ...(auto.extractor ? { extractor: auto.extractor } : {}),
      },
      engines,
    };
  }
}
