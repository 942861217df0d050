// Two engines as one: the first trains, the second runs the programs whose state never changes, such as frozen encoders.
import type { Engine, Executable, Program, Values } from './program.js';

/**
 * An engine that loads programs with `fixed` state on `extractor` and all others on `trainer`, whose name and device it bears.
 * On CUDA these are tensorflow, whose tensors stay on the device between steps, and onnxruntime, which takes an encoder's
 * weights as constants, so that images go in and features come out and nothing else crosses the bus.
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

/** What an engine runs on, for people: `onnx on cpu`, or `tensorflow on cuda, features by onnx on cuda`. */
export function engineText({ name, device, extractor }: Engine): string {
  return `${name} on ${device}${extractor ? `, features by ${extractor.name} on ${extractor.device}` : ''}`;
}
