// The onnx engine: traces, optimises and lowers programs, and loads them in onnxruntime.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { withDefaultSignals } from '../../stops.js';
import type { Graph } from '../graph/ir.js';
import { optimise } from '../graph/passes/index.js';
import { stateRows } from '../graph/state_rows.js';
import { trace } from '../graph/trace.js';
import { checkValues, type DeviceName, type Engine, type Program, type Values } from '../program.js';
import { CUDA_PROVIDER, libraryFolder } from './c_api.js';
import { OnnxExecutable } from './executable.js';
import { lower } from './lower.js';
import { NativeSession, type OnnxSlot, runtimeVersion, type SessionSettings } from './native_session.js';
import { loweringsFor } from './precision.js';
import { refusal } from './refusal.js';

export type { OnnxExecutable, OnnxSlot };

export interface OnnxOptions {
  device?: DeviceName;
  /** Threads within one op; onnxruntime's own choice (all physical cores) when undefined. */
  threads?: number;
  /** Writes an onnxruntime profile of every run with this file prefix. */
  profile?: string;
}

/** Values that every tensor in a row must hold a multiple of on CUDA, whose kernels read four at a time. */
const CUDA_UNIT = 4;

/** An ONNX model is one protobuf message, which ends at 2 GiB: larger weights stay inputs. */
export const MOST_MODEL_BYTES = 1.9 * 2 ** 30;

/** Where onnxruntime looks for the libraries of its CUDA provider on Linux, and those that are not there. */
export function cudaLibraries(): { folder: string; missing: string[] } {
  const folder = libraryFolder();
  return { folder, missing: CUDA_PROVIDER.filter((file) => !existsSync(join(folder, file))) };
}

/** Lets the event loop turn between long synchronous pieces, so that a signal is answered. */
const eventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class OnnxEngine implements Engine {
  readonly name = 'onnx';
  readonly device: DeviceName;
  readonly threads?: number;
  readonly version = runtimeVersion();

  constructor(private readonly options: OnnxOptions = {}) {
    this.device = options.device ?? 'cpu';
    if (options.threads !== undefined) this.threads = options.threads;
  }

  async load(program: Program, fixed: Record<string, Values> = {}): Promise<OnnxExecutable> {
    for (const name of Object.keys(fixed)) {
      if (!program.state.includes(name))
        throw new Error(`program ${program.name} has no state named ${name}`);
    }
    const { value: traced, long } = withDefaultSignals(() => trace(program));
    await eventLoop();
    const bytes = Object.values(fixed).reduce((n, v) => n + v.byteLength, 0);
    if (bytes > MOST_MODEL_BYTES) {
      const { value: graph } = withDefaultSignals(() => optimise(traced), long);
      const executable = await this.loadGraph(program, graph, long);
      executable.setState(fixed);
      return executable;
    }
    // As constants, weights are packed once for the products that read them, and what depends on them alone is folded.
    const constants = traced.inputs.filter((i) => fixed[i.name]);
    for (const { name, value } of constants) {
      checkValues(program, name, fixed[name]!);
      value.data = fixed[name]!;
    }
    const open = { ...traced, inputs: traced.inputs.filter((i) => !fixed[i.name]) };
    const inputs = Object.fromEntries(Object.entries(program.inputs).filter(([name]) => !fixed[name]));
    const state = program.state.filter((name) => !fixed[name]);
    const { value: graph } = withDefaultSignals(() => optimise(open), long);
    const executable = await this.loadGraph({ ...program, inputs, state }, graph, long);
    for (const { value } of constants) delete value.data; // the session has its own copy
    return executable;
  }

  /** Loads a graph of the program as it stands: `load` without trace and passes. */
  async loadGraph(program: Program, graph: Graph, long = false): Promise<OnnxExecutable> {
    await eventLoop();
    const { laid, model } = withDefaultSignals(() => this.lowered(program, graph), long).value;
    // Higher levels fold transposes back into products, which is slower, and take seconds longer to load.
    const { threads, device } = this;
    const share =
      device === 'cpu' && threads && program.streams ? Math.ceil(threads / program.streams) : threads;
    const session = await this.session(model, `program ${program.name}`, 'basic', share);
    return new OnnxExecutable(program, laid.graph, laid.rows, session, this);
  }

  private lowered(program: Program, graph: Graph) {
    const laid =
      this.device === 'webgpu'
        ? { graph, rows: {} } // its memory has no addresses
        : stateRows(graph, program.state, this.device === 'cuda' ? CUDA_UNIT : 1);
    const model = lower(laid.graph, {
      keepOrder: this.device === 'cpu', // elsewhere it would bring values back to the CPU
      instead: loweringsFor(program, this.device),
    });
    return { laid, model };
  }

  private async session(
    model: Uint8Array,
    what: string,
    passes: SessionSettings['passes'],
    threads = this.threads,
  ): Promise<NativeSession> {
    const { profile } = this.options;
    try {
      return await NativeSession.load(model, {
        device: this.device,
        passes,
        ...(threads === undefined ? {} : { threads }),
        ...(profile && passes === 'basic' ? { profile } : {}),
        replay: this.device === 'cuda' && passes === 'basic', // it saves the time to start thousands of kernels
      });
    } catch (error) {
      throw refusal(what, this.device, error as Error);
    }
  }
}
