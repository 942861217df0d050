// A program whose state stays in the memory of a GPU: what one step returns is what the next one reads, and the host sees neither.
import {
  checkValues,
  type Executable,
  neverSet,
  type Outputs,
  type Program,
  type TensorSpec,
  type Values,
} from '../program.js';
import { OnnxBuilder } from './builder.js';
import type { Graph } from './ir.js';
import { OUTPUT_PREFIX } from './lower.js';

/** What is needed of a tensor of the runtime: on the host it has `data`, on the device it is freed by `dispose`. */
export interface RuntimeTensor {
  readonly location: string;
  readonly data: unknown;
  dispose(): void;
}

/** What is needed of a session of the runtime; where each output comes to lie was said when it was opened. */
export interface RuntimeSession {
  run(feeds: Record<string, RuntimeTensor>, fetches: string[]): Promise<Record<string, RuntimeTensor>>;
  release(): Promise<void>;
}

/** The runtime as far as state on a device needs it. */
export interface Runtime {
  /** A tensor on the host that holds these very values. */
  hostTensor(spec: TensorSpec, values: Values): RuntimeTensor;
  /** Sessions that copy a float32 tensor `x` of any shape to `y`: onto the device, and back. */
  upload: RuntimeSession;
  download: RuntimeSession;
}

/** The model of those two sessions, as bytes. */
export function copyModel(): Uint8Array {
  const b = new OnnxBuilder();
  const tensor = b.node('Identity', ['x']);
  return b.encode('copy', [{ name: 'x', dtype: 'float32' }], [{ name: 'y', dtype: 'float32', tensor }]);
}

/**
 * State moves between host and device in `setState` and `getState` alone, both through sessions that copy: the binding
 * of onnxruntime can neither write nor read a tensor on the device. A step returns its next state in new tensors on the device (tensors
 * made before are not written, even when given to it), and the old ones are freed once the step is accepted.
 */
export class ResidentExecutable implements Executable {
  private readonly current: Record<string, RuntimeTensor> = {};
  /** Values that were set and not yet uploaded. */
  private readonly staged: Record<string, Float32Array> = {};
  private readonly names: string[];

  constructor(
    private readonly program: Program,
    readonly graph: Graph,
    private readonly session: RuntimeSession,
    private readonly runtime: Runtime,
  ) {
    this.names = graph.outputs.map((o) => OUTPUT_PREFIX + o.name);
  }

  /** Where each state tensor lies now. */
  get locations(): Record<string, string> {
    return Object.fromEntries(Object.entries(this.current).map(([name, t]) => [name, t.location]));
  }

  setState(values: Record<string, Values>): void {
    for (const [name, v] of Object.entries(values)) {
      if (!this.program.state.includes(name))
        throw new Error(`program ${this.program.name} has no state named ${name}`);
      checkValues(this.program, name, v);
      this.staged[name] = Float32Array.from(v);
    }
  }

  private async upload(): Promise<void> {
    for (const [name, values] of Object.entries(this.staged)) {
      const x = this.runtime.hostTensor(this.program.inputs[name]!, values);
      const { y } = await this.runtime.upload.run({ x }, ['y']);
      this.current[name]?.dispose();
      this.current[name] = y!;
      delete this.staged[name];
    }
  }

  async getState(names = this.program.state): Promise<Record<string, Float32Array>> {
    await this.upload();
    const state: Record<string, Float32Array> = {};
    for (const name of names) {
      const x = this.current[name];
      if (!x) throw neverSet(this.program, name);
      const { y } = await this.runtime.download.run({ x }, ['y']);
      state[name] = (y!.data as Float32Array).slice();
    }
    return state;
  }

  async run(inputs: Record<string, Values>, accept: (o: Outputs) => boolean = () => true): Promise<Outputs> {
    await this.upload();
    const feeds: Record<string, RuntimeTensor> = {};
    for (const [name, spec] of Object.entries(this.program.inputs)) {
      if (this.program.state.includes(name)) {
        if (!this.current[name]) throw neverSet(this.program, name);
        feeds[name] = this.current[name];
        continue;
      }
      const given = inputs[name];
      if (!given) throw new Error(`program ${this.program.name} needs input ${name}`);
      checkValues(this.program, name, given);
      feeds[name] = this.runtime.hostTensor(spec, given);
    }
    const results = await this.session.run(feeds, this.names);
    const outputs: Outputs = {};
    const next: Record<string, RuntimeTensor> = {};
    for (const { name } of this.graph.outputs) {
      const t = results[OUTPUT_PREFIX + name]!;
      if (this.program.state.includes(name)) next[name] = t;
      else outputs[name] = (t.data as Float32Array).slice();
    }
    const accepted = accept(outputs);
    for (const [name, t] of Object.entries(next)) {
      (accepted ? this.current[name]! : t).dispose();
      if (accepted) this.current[name] = t;
    }
    return outputs;
  }

  async dispose(): Promise<void> {
    for (const [name, t] of Object.entries(this.current)) {
      t.dispose();
      delete this.current[name];
    }
    await this.session.release();
  }
}
