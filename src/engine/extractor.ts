// Two engines as one: the second runs the programs whose state is fixed when they are loaded, such as frozen encoders, the first all others.
import type { Engine, Executable, Program, Values } from './program.js';

/**
 * An engine that loads programs with `fixed` state on `extractor` and all others on `trainer`, whose name and device it bears.
 * An evaluation on CUDA has onnx on the CPU for its heads and onnx on CUDA for the encoder (select.ts): its weights are constants there, so
 * that images go in and features come out and nothing else crosses the bus.
 */
export function withExtractor(trainer: Engine, extractor: Engine): Engine {
  const { name, device, threads, version } = trainer;
  return {
    name,
    device,
    ...(threads === undefined ? {} : { threads }),
    version,
    extractor: { name: extractor.name, device: extractor.device, version: extractor.version },
    load: (program: Program, fixed?: Record<string, Values>): Promise<Executable> =>
      fixed ? extractor.load(program, fixed) : trainer.load(program),
  };
}

/** What an engine runs on, for people: `onnx on cuda`, or `onnx on cpu, features by onnx on cuda`. */
export function engineText({ name, device, extractor }: Engine): string {
  return `${name} on ${device}${extractor ? `, features by ${extractor.name} on ${extractor.device}` : ''}`;
}
