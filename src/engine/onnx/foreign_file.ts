// An ONNX file of anyone's, loaded in onnxruntime with the files of external data beside it; it knows no program.

import { shown } from '../../base/text.js';
import { EngineError } from '../../errors.js';
import type { DeviceName } from '../program.js';
import { NativeSession, type OnnxSlot } from './native_session.js';
import { refusal } from './refusal.js';

/**
 * Opens a file.
 * @throws EngineError when onnxruntime cannot load it
 */
export async function openOnnxFile(
  path: string,
  options: { device: DeviceName; threads?: number },
): Promise<OnnxFile> {
  try {
    return new OnnxFile(path, await NativeSession.load(path, { passes: 'all', ...options }));
  } catch (error) {
    throw refusal(path, options.device, error as Error);
  }
}

/** A foreign ONNX model, loaded. */
export class OnnxFile {
  constructor(
    readonly path: string,
    private readonly session: NativeSession,
  ) {}

  get inputs(): readonly OnnxSlot[] {
    return this.session.inputs;
  }
  get outputs(): readonly OnnxSlot[] {
    return this.session.outputs;
  }

  /**
   * Runs the model on one input and returns the named outputs with the shapes that they have.
   * @throws EngineError when onnxruntime fails, or an output is not float32
   */
  async run(
    input: string,
    values: Float32Array | Uint8Array,
    shape: number[],
    outputs: string[],
  ): Promise<Record<string, { shape: readonly number[]; data: Float32Array }>> {
    const { session } = this;
    const dtype = values instanceof Uint8Array ? 'uint8' : 'float32';
    const given = session.hostValue(values, shape, dtype);
    const binding = session.binding();
    try {
      binding.input(input, given);
      for (const name of outputs) binding.openOutput(name);
      await binding.run();
      const made = binding.read();
      return Object.fromEntries(
        outputs.map((name, i) => {
          const { type, shape, data } = made[i]!;
          if (!data) {
            throw new EngineError(`${this.path}: output ${shown(name)} is ${type}; read is float32`);
          }
          return [name, { shape, data }];
        }),
      );
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const [reason] = (error as Error).message.split('\n');
      throw new EngineError(
        `${this.path} fails on input ${shown(input)} of shape [${shape}]: ${shown(reason!)}`,
      );
    } finally {
      binding.close();
      session.release(given);
    }
  }

  async close(): Promise<void> {
    this.session.close();
  }
}
