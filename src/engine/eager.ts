// Runs a program op by op on a TensorFlow.js backend: the tensorflow and reference engines share it.
import { type Tensor, tf } from '../tensor/tf.js';
import type {
  DeviceName,
  Engine,
  EngineName,
  Executable,
  Outputs,
  Program,
  TensorSpec,
  Values,
} from './program.js';

export class EagerEngine implements Engine {
  constructor(
    readonly name: EngineName,
    readonly device: DeviceName,
    readonly version: string,
    private readonly backend: string,
    readonly threads?: number,
  ) {}

  async load(program: Program): Promise<Executable> {
    return new EagerExecutable(program, this.backend);
  }
}

function toTensor(values: Values, spec: TensorSpec): Tensor {
  // uint8 crosses as bytes and becomes float32 here: TensorFlow.js has no uint8 tensors.
  const data = spec.dtype === 'uint8' ? Float32Array.from(values) : values.slice();
  return tf.tensor(data as Float32Array, spec.shape, spec.dtype === 'int32' ? 'int32' : 'float32');
}

class EagerExecutable implements Executable {
  private state: Record<string, Tensor> = {};

  constructor(
    private readonly program: Program,
    private readonly backend: string,
  ) {}

  private enter(): void {
    if (tf.getBackend() !== this.backend) tf.setBackend(this.backend);
  }

  setState(values: Record<string, Values>): void {
    this.enter();
    for (const [name, v] of Object.entries(values)) {
      const spec = this.program.inputs[name];
      if (!spec || !this.program.state.includes(name)) {
        throw new Error(`program ${this.program.name} has no state named ${name}`);
      }
      this.state[name]?.dispose();
      this.state[name] = toTensor(v, spec);
    }
  }

  async getState(names = this.program.state): Promise<Record<string, Float32Array>> {
    this.enter();
    const entries = await Promise.all(
      names.map(async (n) => [n, ((await this.state[n]!.data()) as Float32Array).slice()] as const),
    );
    return Object.fromEntries(entries);
  }

  async run(inputs: Record<string, Values>, accept: (o: Outputs) => boolean = () => true): Promise<Outputs> {
    this.enter();
    const outputs = tf.tidy(() => {
      const tensors: Record<string, Tensor> = { ...this.state };
      for (const [name, spec] of Object.entries(this.program.inputs)) {
        if (this.state[name]) continue;
        const given = inputs[name];
        if (!given) throw new Error(`program ${this.program.name} needs input ${name}`);
        tensors[name] = toTensor(given, spec);
      }
      const out = this.program.run(tensors);
      // A state that the program passes through unchanged is the old tensor itself: keep a reference of its own.
      return Object.fromEntries(
        Object.entries(out).map(([n, t]) => [n, Object.values(tensors).includes(t) ? tf.clone(t) : t]),
      );
    });
    const results: Outputs = {};
    const next: Record<string, Tensor> = {};
    for (const [name, t] of Object.entries(outputs)) {
      if (this.program.state.includes(name)) {
        next[name] = t;
      } else {
        results[name] = ((await t.data()) as Float32Array).slice();
        t.dispose();
      }
    }
    const accepted = accept(results);
    for (const [name, t] of Object.entries(next)) {
      (accepted ? this.state[name]! : t).dispose();
      if (accepted) this.state[name] = t;
    }
    return results;
  }

  async dispose(): Promise<void> {
    this.enter();
    for (const t of Object.values(this.state)) t.dispose();
    this.state = {};
  }
}
