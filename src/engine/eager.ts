// Runs a program op by op on a TensorFlow.js backend: the tensorflow and reference engines share it.
import { EngineError } from '../errors.js';
import { type Tensor, tf } from '../tensor/tf.js';
import type { Graph } from './graph/ir.js';
import { runError } from './out_of_memory.js';
import {
  checkValues,
  type DeviceName,
  type Engine,
  type EngineName,
  type Executable,
  neverSet,
  type Outputs,
  type Program,
  type Values,
} from './program.js';
import { Replay, recorded } from './replay.js';

export class EagerEngine implements Engine {
  constructor(
    readonly name: EngineName,
    readonly device: DeviceName,
    readonly version: string,
    private readonly backend: string,
    readonly threads?: number,
    /** Whether programs are recorded once and replayed, which takes less memory than running them as they are written. */
    private readonly replays = false,
  ) {}

  async load(program: Program, fixed: Record<string, Values> = {}): Promise<Executable> {
    if (program.products) {
      throw new EngineError(
        `program ${program.name}: the ${this.name} engine has no products in ${program.products}. Take --engine onnx, or --set precision.products=float32`,
      );
    }
    const graph = this.replays ? recorded(program, this.backend) : undefined;
    const executable = new EagerExecutable(program, this.backend, this, graph);
    executable.setState(fixed);
    return executable;
  }
}

function toTensor(program: Program, name: string, values: Values): Tensor {
  checkValues(program, name, values);
  const spec = program.inputs[name]!;
  // uint8 crosses as bytes and becomes float32 here: TensorFlow.js has no uint8 tensors.
  const data = spec.dtype === 'uint8' ? Float32Array.from(values) : values.slice();
  return tf.tensor(data as Float32Array, spec.shape, spec.dtype === 'int32' ? 'int32' : 'float32');
}

class EagerExecutable implements Executable {
  readonly activationBytes?: number;
  private readonly replay?: Replay;
  private state: Record<string, Tensor> = {};

  constructor(
    private readonly program: Program,
    private readonly backend: string,
    private readonly engine: Pick<Engine, 'name' | 'device'>,
    graph?: Graph,
  ) {
    this.enter();
    if (!graph) return;
    this.replay = new Replay(graph);
    this.activationBytes = this.replay.activationBytes;
  }

  private enter(): void {
    if (tf.getBackend() !== this.backend) tf.setBackend(this.backend);
  }

  setState(values: Record<string, Values>): void {
    this.enter();
    for (const [name, v] of Object.entries(values)) {
      if (!this.program.state.includes(name)) {
        throw new Error(`program ${this.program.name} has no state named ${name}`);
      }
      const t = toTensor(this.program, name, v);
      this.state[name]?.dispose();
      this.state[name] = t;
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
    const outputs = this.compute(inputs);
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

  /** The outputs, each a tensor of its own. */
  private compute(inputs: Record<string, Values>): Record<string, Tensor> {
    try {
      return tf.tidy(() => {
        const tensors: Record<string, Tensor> = { ...this.state };
        for (const name of Object.keys(this.program.inputs)) {
          if (this.state[name]) continue;
          if (this.program.state.includes(name)) throw neverSet(this.program, name);
          const given = inputs[name];
          if (!given) throw new Error(`program ${this.program.name} needs input ${name}`);
          tensors[name] = toTensor(this.program, name, given);
        }
        const out = this.replay ? this.replay.run(tensors) : this.program.run(tensors);
        // A tensor that is an input, or serves twice, gets a reference of its own: each output is disposed by itself.
        const taken = new Set<Tensor>(Object.values(tensors));
        return Object.fromEntries(
          Object.entries(out).map(([n, t]) => {
            const own = taken.has(t) ? tf.clone(t) : t;
            taken.add(t);
            return [n, own];
          }),
        );
      });
    } catch (error) {
      throw runError(error, this.program, this.engine);
    }
  }

  async dispose(): Promise<void> {
    this.enter();
    for (const t of Object.values(this.state)) t.dispose();
    this.state = {};
    this.replay?.dispose();
  }
}
