// A program loaded in onnxruntime, with its state bound once: where the session runs, and for as long as it lives.
import pLimit from 'p-limit';
import { EngineError } from '../../errors.js';
import type { Graph } from '../graph/ir.js';
import { activationBytes } from '../graph/memory.js';
import type { StateRows } from '../graph/state_rows.js';
import { runError } from '../out_of_memory.js';
import {
  checkValues,
  type Engine,
  type Executable,
  elements,
  neverSet,
  type Outputs,
  type Program,
  type Values,
} from '../program.js';
import { OUTPUT_PREFIX } from './lower.js';
import type { Binding, NativeSession, Value } from './native_session.js';

/** Element type and shape of a tensor; graphs have bools besides what a program may hold. */
interface Spec {
  shape: number[];
  dtype: string;
}

const arrayOf = ({ shape, dtype }: Spec): Values => {
  const n = elements(shape);
  if (dtype === 'float32') return new Float32Array(n);
  return dtype === 'int32' ? new Int32Array(n) : new Uint8Array(n);
};

/** What onnxruntime can read as it lies: values in an array of another type are converted. */
function readable(spec: Spec, given: Values): Values {
  const same = spec.dtype === 'float32' ? Float32Array : spec.dtype === 'int32' ? Int32Array : Uint8Array;
  if (given instanceof same) return given;
  const copied = arrayOf(spec);
  copied.set(given);
  return copied;
}

/** Programs on a GPU take turns: they share its queue and its memory. */
const gpu = pLimit(1);

/** Floats between tensors in a block: CUDA's own allocations begin at multiples of 256 bytes. */
const BLOCK_STEP = 64;

/**
 * State lives in two sets of tensors in the memory that the session reads: a step reads one and writes the other in
 * place, because an output must not be bound onto an input that the same graph still reads, and because a step may be
 * refused. Of a run, only what it is given and what it returns cross; on the host not even that is copied.
 *
 * A session that replays always reads the first set and writes the second, which is then copied over the first on the device;
 * what a run is given and returns has places there too.
 */
export class OnnxExecutable implements Executable {
  private readonly sets: [Record<string, Value>, Record<string, Value>] = [{}, {}];
  /** The sets change places after a step. */
  private readonly swaps: boolean;
  /** For each run that may go on at once a binding to each set that is read. A run takes them and puts them back. */
  private readonly free: Binding[][];
  private reading: 0 | 1 = 0;
  private readonly bound: Set<string>;
  private readonly unset: Set<string>;
  private readonly turns: ReturnType<typeof pLimit>;
  /** Runs that have not ended. */
  private readonly going = new Set<Promise<Outputs>>();
  readonly activationBytes: number;
  /** Of a session that replays: the memory of all tensors of a set that change, and the places of what a run is given and returns. */
  private blocks?: readonly [Value, Value];
  private readonly given: Record<string, Value> = {};
  private readonly returned: Record<string, Value> = {};

  constructor(
    private readonly program: Program,
    readonly graph: Graph,
    rows: StateRows,
    private readonly session: NativeSession,
    private readonly engine: Pick<Engine, 'name' | 'device'>,
  ) {
    this.activationBytes = activationBytes(graph);
    this.unset = new Set(program.state);
    this.bound = new Set(session.inputs.map((i) => i.name));
    const made = new Set(graph.outputs.map((o) => o.name));
    const changes = [...program.state, ...Object.keys(rows)].some((name) => made.has(name));
    this.swaps = changes && !session.replays;
    const streams = changes ? 1 : (program.streams ?? 1);
    this.free = Array.from({ length: streams }, () =>
      Array.from({ length: this.swaps ? 2 : 1 }, () => session.binding()),
    );
    this.turns = engine.device === 'cpu' ? pLimit(streams) : gpu;
    if (session.replays) this.layBlocks(rows, made);
    else for (const [row, names] of Object.entries(rows)) this.layOut(row, names, made.has(row));
    for (const name of program.state) {
      if (this.sets[0][name]) continue;
      const spec = program.inputs[name]!;
      const value = (): Value => session.valueFor(name, () => arrayOf(spec), spec.shape, spec.dtype);
      this.keep(name, value(), made.has(name) ? value() : undefined);
    }
    for (const bindings of this.free) {
      for (const name of Object.keys(this.sets[0])) {
        bindings.forEach((binding, i) => {
          if (this.bound.has(name)) binding.input(name, this.sets[i]![name]!);
          if (made.has(name)) binding.output(OUTPUT_PREFIX + name, this.sets[1 - i]![name]!);
        });
      }
    }
    if (session.replays) this.placeCrossing();
  }

  /** Places on the device of what a run is given and returns: they are part of what is recorded. */
  private placeCrossing(): void {
    const { session, program, graph } = this;
    const binding = this.free[0]![0]!;
    for (const [name, spec] of Object.entries(program.inputs)) {
      if (this.sets[0][name] || !this.bound.has(name)) continue;
      this.given[name] = session.valueFor(name, () => arrayOf(spec), spec.shape, spec.dtype);
      binding.input(name, this.given[name]);
    }
    for (const { name, value } of graph.outputs) {
      if (this.sets[0][name]) continue;
      const out = OUTPUT_PREFIX + name;
      this.returned[name] = session.valueFrom(out, () => arrayOf(value), value.shape, value.dtype);
      binding.output(out, this.returned[name]);
    }
  }

  /** All state that changes in one block of memory for each set, on the device; rows and their tensors over the same places. */
  private layBlocks(rows: StateRows, made: Set<string>): void {
    const { session, program } = this;
    const inRows = new Set(Object.values(rows).flat());
    const places: [name: string, shape: number[], from: number][] = [];
    let end = 0;
    const add = (name: string, shape: number[], from: number): number =>
      places.push([name, shape, from]) && from + elements(shape);
    for (const [row, names] of Object.entries(rows)) {
      const length = names.reduce((n, name) => n + elements(program.inputs[name]!.shape), 0);
      add(row, [length], end);
      for (const name of names) end = add(name, program.inputs[name]!.shape, end);
      end = Math.ceil(end / BLOCK_STEP) * BLOCK_STEP;
    }
    for (const name of program.state) {
      if (!made.has(name) || inRows.has(name)) continue;
      end = add(name, program.inputs[name]!.shape, end);
      end = Math.ceil(end / BLOCK_STEP) * BLOCK_STEP;
    }
    const [like] = places[0] ?? [];
    if (like === undefined) return;
    const block = (): Value => session.valueFor(like, () => new Float32Array(end), [end], 'float32');
    this.blocks = [block(), block()];
    for (const [name, shape, from] of places) {
      const [first, second] = this.blocks.map((whole) => session.part(like, whole, from, shape));
      this.keep(name, first!, second);
    }
  }

  private keep(name: string, first: Value, second = first): void {
    this.sets[0][name] = first;
    this.sets[1][name] = second;
  }

  /** State tensors side by side in the memory of one row, on the host. */
  private layOut(row: string, names: string[], changes: boolean): void {
    const { session, program } = this;
    const shapes = names.map((name) => program.inputs[name]!.shape);
    const length = shapes.reduce((n, shape) => n + elements(shape), 0);
    const memories = Array.from({ length: changes ? 2 : 1 }, () => new Float32Array(length));
    const [first, second] = memories.map((all) => session.hostValue(all, [length], 'float32'));
    this.keep(row, first!, second);
    let from = 0;
    for (const [i, name] of names.entries()) {
      const to = from + elements(shapes[i]!);
      const parts = memories.map((all) => session.hostValue(all.subarray(from, to), shapes[i]!, 'float32'));
      this.keep(name, parts[0]!, parts[1]);
      from = to;
    }
  }

  /** Where each state tensor lies: state that only kernels of the CPU read stays on the host, whatever the device. */
  get locations(): Record<string, 'host' | 'device'> {
    const place = (name: string) => (this.sets[this.reading][name]!.data ? 'host' : 'device');
    return Object.fromEntries(this.program.state.map((name) => [name, place(name)]));
  }

  setState(values: Record<string, Values>): void {
    for (const [name, v] of Object.entries(values)) {
      const value = this.sets[this.reading][name];
      if (!value) throw new Error(`program ${this.program.name} has no state named ${name}`);
      checkValues(this.program, name, v);
      this.write(value, this.program.inputs[name]!, v);
      this.unset.delete(name);
    }
  }

  getState(names = this.program.state): Promise<Record<string, Float32Array>> {
    const read = (name: string): Values =>
      this.read(this.sets[this.reading][name]!, this.program.inputs[name]!);
    return this.turns(async () => Object.fromEntries(names.map((n) => [n, read(n) as Float32Array])));
  }

  /** Values into a tensor, wherever it lies. */
  private write(to: Value, spec: Spec, values: Values): void {
    if (to.data) {
      to.data.set(values);
      return;
    }
    const given = this.session.hostValue(readable(spec, values), spec.shape, spec.dtype);
    this.session.copy(given, to);
    this.session.release(given);
  }

  /** A copy of the values of a tensor, wherever it lies. */
  private read(from: Value, spec: Spec): Values {
    if (from.data) return from.data.slice();
    const data = arrayOf(spec);
    const taken = this.session.hostValue(data, spec.shape, spec.dtype);
    this.session.copy(from, taken);
    this.session.release(taken);
    return data;
  }

  run(inputs: Record<string, Values>, accept: (o: Outputs) => boolean = () => true): Promise<Outputs> {
    const run = this.turns(async () => {
      for (const name of this.unset) throw neverSet(this.program, name);
      const bindings = this.free.pop()!;
      try {
        const binding = bindings[this.reading]!;
        const outputs = this.session.replays
          ? this.replay(binding, inputs)
          : await this.runBound(binding, inputs);
        if (!accept(outputs)) return outputs;
        if (this.swaps) this.reading = this.reading === 0 ? 1 : 0;
        else if (this.blocks) this.session.copy(this.blocks[1], this.blocks[0]);
        return outputs;
      } finally {
        this.free.push(bindings);
      }
    });
    this.going.add(run);
    const ended = (): unknown => this.going.delete(run);
    run.then(ended, ended);
    return run;
  }

  /** The values of an input that a run is given, checked, as onnxruntime reads them; undefined where the graph does not. */
  private valuesOf(name: string, inputs: Record<string, Values>): Values | undefined {
    if (this.sets[0][name]) return undefined;
    const values = inputs[name];
    if (!values) throw new Error(`program ${this.program.name} needs input ${name}`);
    checkValues(this.program, name, values);
    return this.bound.has(name) ? readable(this.program.inputs[name]!, values) : undefined;
  }

  private async runBound(binding: Binding, inputs: Record<string, Values>): Promise<Outputs> {
    const { session } = this;
    const lent: Value[] = [];
    const outputs: Outputs = {};
    try {
      for (const [name, { shape, dtype }] of Object.entries(this.program.inputs)) {
        const values = this.valuesOf(name, inputs);
        if (!values) continue;
        lent.push(session.hostValue(values, shape, dtype));
        binding.input(name, lent.at(-1)!);
      }
      for (const { name, value } of this.graph.outputs) {
        if (this.sets[0][name]) continue;
        lent.push(session.hostValue(arrayOf(value), value.shape, value.dtype));
        outputs[name] = lent.at(-1)!.data as Float32Array;
        binding.output(OUTPUT_PREFIX + name, lent.at(-1)!);
      }
      await binding.run().catch((error: unknown) => this.explain(error));
    } finally {
      for (const value of lent) session.release(value);
    }
    return outputs;
  }

  private replay(binding: Binding, inputs: Record<string, Values>): Outputs {
    for (const [name, spec] of Object.entries(this.program.inputs)) {
      const values = this.valuesOf(name, inputs);
      if (values) this.write(this.given[name]!, spec, values);
    }
    try {
      binding.runHere();
    } catch (error) {
      this.explain(error);
    }
    const outputs: Outputs = {};
    for (const { name, value } of this.graph.outputs) {
      const place = this.returned[name];
      if (place) outputs[name] = this.read(place, value) as Float32Array;
    }
    return outputs;
  }

  /** @throws EngineError always, in the words of a user */
  private explain(error: unknown): never {
    const known = runError(error, this.program, this.engine);
    if (known instanceof EngineError) throw known;
    const [reason] = (error as Error).message.split('\n');
    throw new EngineError(`program ${this.program.name} failed on ${this.engine.device}: ${reason}`);
  }

  /** Most bytes that the intermediate values of a run have taken on the host so far. */
  peakBytes(): number {
    return this.session.peakBytes();
  }

  async dispose(): Promise<void> {
    await Promise.allSettled(this.going);
    await this.turns(async () => {
      for (const binding of this.free.flat()) binding.close();
      const values = [...this.sets, this.given, this.returned].flatMap((set) => Object.values(set));
      for (const value of new Set([...values, ...(this.blocks ?? [])])) this.session.release(value);
      this.session.close();
    });
  }
}
