// Feeds an ONNX file of anyone's with bytes and cuts its outputs into features, as its adapter says.

import { shown } from '../base/text.js';
import type { OnnxFile } from '../engine/onnx/foreign_file.js';
import type { OnnxSlot } from '../engine/onnx/native_session.js';
import { DataError, UsageError } from '../errors.js';
import type { Adapter, AdapterPart } from './adapter.js';
import { normalisedBytes } from './floors.js';
import type { Size } from './spec.js';

/** One part of the features: [images, ...], row-major. */
export interface Output {
  shape: readonly number[];
  data: Float32Array;
}

/** Features of some images: patches [n, N, D], global [n, E], registers [n, R, D]. */
export interface ForeignFeatures {
  patches: Output;
  global: Output | null;
  registers: Output | null;
}

/** What a reader is made of besides the file; plain values. */
export interface ReaderPlan {
  adapter: Adapter;
  adapterPath: string;
  size: Size;
  grid: { rows: number; columns: number };
}

/** Feeds a file. Throws DataError or UsageError where file and adapter do not fit each other. */
export class ForeignReader {
  /** Images that one call of the file takes; 0: any number. */
  private readonly fixed: number;
  private readonly bytes: boolean;
  private readonly table: Float32Array;

  private readonly adapter: Adapter;
  private readonly adapterPath: string;
  private readonly size: Size;
  private readonly grid: { rows: number; columns: number };

  constructor(
    private readonly file: OnnxFile,
    plan: ReaderPlan,
  ) {
    const { adapter, size } = plan;
    [this.adapter, this.adapterPath, this.size, this.grid] = [adapter, plan.adapterPath, size, plan.grid];
    const { input, outputs, normalise } = adapter;
    const slot = this.slot('input', input.name, file.inputs);
    const others = file.inputs.filter((i) => i.name !== input.name).map((i) => i.name);
    if (others.length > 0) {
      throw new DataError(
        `${file.path} also needs ${shown(others.join(', '))}; only images can be given: export it without`,
      );
    }
    this.bytes = normalise === 'bytes';
    const type = this.bytes ? 'uint8' : 'float32';
    if (slot.type !== type) {
      throw this.misfit(
        `input ${input.name} is ${slot.type}, normalise ${this.bytes ? 'bytes' : ''} gives ${type}`,
      );
    }
    this.table = this.bytes ? new Float32Array(0) : normalisedBytes(...statistics(adapter));
    for (const p of [outputs.patches, outputs.global, outputs.registers]) {
      if (p) this.slot('output', p.output, file.outputs);
    }
    const wanted = this.inputShape(1);
    if (slot.shape.length !== 4)
      throw this.misfit(`input ${input.name} has shape [${slot.shape}], not 4 axes`);
    const clash = wanted.findIndex(
      (d, i) => i > 0 && typeof slot.shape[i] === 'number' && slot.shape[i] !== d,
    );
    if (clash > 0) {
      throw new UsageError(
        `${file.path} takes [${slot.shape}] (${input.layout}), not images of ${size.height} x ${size.width} as ${input.layout}: give its own size, or export it for this one`,
      );
    }
    const first = slot.shape[0]!;
    this.fixed = typeof first === 'number' && first > 0 ? first : 0;
  }

  private slot(what: string, name: string, slots: readonly OnnxSlot[]): OnnxSlot {
    const slot = slots.find((s) => s.name === name);
    if (slot) return slot;
    throw this.misfit(
      `it has no ${what} ${shown(name)}; it has ${shown(slots.map((s) => s.name).join(', '))}`,
    );
  }

  private misfit(what: string): DataError {
    return new DataError(`${this.file.path} does not fit its adapter ${this.adapterPath}: ${what}`);
  }

  private inputShape(n: number): number[] {
    const { height, width } = this.size;
    return this.adapter.input.layout === 'nchw' ? [n, 3, height, width] : [n, height, width, 3];
  }

  /** Features of `n` images, calling the file as often as its batch asks for. */
  async run(images: Uint8Array, n: number): Promise<ForeignFeatures> {
    const per = this.fixed || n;
    const { patches, global, registers } = this.adapter.outputs;
    const names = [...new Set([patches, global, registers].flatMap((p) => (p ? [p.output] : [])))];
    const collected = { patches: [] as Output[], global: [] as Output[], registers: [] as Output[] };
    for (let first = 0; first < n; first += per) {
      const used = Math.min(per, n - first);
      const input = this.input(images, first, used, per);
      const out = await this.file.run(this.adapter.input.name, input, this.inputShape(per), names);
      for (const name of names) {
        if (out[name]!.shape[0] !== per) {
          throw this.misfit(`output ${name} of ${per} images has shape [${out[name]!.shape}]`);
        }
      }
      collected.patches.push(firstRows(this.patches(out[patches.output]!), used));
      if (global) collected.global.push(firstRows(this.global(out[global.output]!, global), used));
      if (registers) {
        collected.registers.push(
          firstRows(this.tokens(out[registers.output]!, registers, 'registers'), used),
        );
      }
    }
    for (const [what, parts] of Object.entries(collected)) {
      if (parts[0]?.shape.includes(0))
        throw this.misfit(`outputs.${what} has shape [${parts[0].shape}], which holds nothing`);
    }
    return {
      patches: joined(collected.patches),
      global: global ? joined(collected.global) : null,
      registers: registers ? joined(collected.registers) : null,
    };
  }

  /** Images `first` to `first + used` as the file wants them; what is left of `per` stays zero. */
  private input(images: Uint8Array, first: number, used: number, per: number): Float32Array | Uint8Array {
    const area = this.size.height * this.size.width;
    const bytes = images.subarray(first * area * 3, (first + used) * area * 3);
    const out = this.bytes ? new Uint8Array(per * area * 3) : new Float32Array(per * area * 3);
    const planes = this.adapter.input.layout === 'nchw';
    for (let i = 0, b = 0; b < used; b++) {
      for (let p = 0; p < area; p++) {
        for (let c = 0; c < 3; c++, i++) {
          const to = planes ? (3 * b + c) * area + p : i;
          out[to] = this.bytes ? bytes[i]! : this.table[c * 256 + bytes[i]!]!;
        }
      }
    }
    return out;
  }

  /** [per, N, D], patches row by row. */
  private patches(out: Output): Output {
    const { patches } = this.adapter.outputs;
    const { rows, columns } = this.grid;
    const named = 'layout' in patches ? patches.layout : undefined;
    const layout = named ?? (out.shape.length === 3 ? 'tokens' : undefined);
    if (layout === undefined) {
      throw this.misfit(
        `output ${patches.output} has shape [${out.shape}]: outputs.patches.layout must say nhwc or nchw`,
      );
    }
    if (layout === 'tokens') {
      const cut = this.tokens(out, patches, 'patches');
      if (cut.shape[1] !== rows * columns) {
        throw this.misfit(
          `outputs.patches gives ${cut.shape[1]} tokens of ${out.shape[1]}, the grid of ${rows} x ${columns} has ${rows * columns}`,
        );
      }
      return cut;
    }
    const grid = layout === 'nhwc' ? out.shape.slice(1, 3) : out.shape.slice(2, 4);
    if (
      out.shape.length !== 4 ||
      grid[0] !== rows ||
      grid[1] !== columns ||
      ('tokens' in patches && patches.tokens)
    ) {
      throw this.misfit(
        `output ${patches.output} has shape [${out.shape}], which is no ${layout} map of ${rows} x ${columns} patches`,
      );
    }
    const n = rows * columns;
    if (layout === 'nhwc') return { shape: [out.shape[0]!, n, out.shape[3]!], data: out.data };
    const width = out.shape[1]!;
    const data = new Float32Array(out.data.length);
    for (let b = 0, from = 0; b < out.shape[0]!; b++) {
      for (let c = 0; c < width; c++) {
        for (let p = 0; p < n; p++) data[(b * n + p) * width + c] = out.data[from++]!;
      }
    }
    return { shape: [out.shape[0]!, n, width], data };
  }

  /** [per, E]: an output of that rank, or one token. */
  private global(out: Output, part: AdapterPart): Output {
    if (out.shape.length === 2 && !part.tokens) return out;
    const cut = this.tokens(out, part, 'global');
    if (cut.shape[1] === 1) return { shape: [cut.shape[0]!, cut.shape[2]!], data: cut.data };
    throw this.misfit(`outputs.global gives ${cut.shape[1]} tokens of output ${part.output}; it is one`);
  }

  /** The tokens that a part names, [per, count, D]; all without `tokens`. */
  private tokens(out: Output, part: AdapterPart, what: string): Output {
    if (out.shape.length !== 3) {
      throw this.misfit(
        `outputs.${what}: output ${part.output} has shape [${out.shape}], not images x tokens x width`,
      );
    }
    const [images, all, width] = out.shape as [number, number, number];
    const [first, end] = [part.tokens?.[0] ?? 0, part.tokens?.[1] ?? all];
    if (first >= all || end > all) {
      throw this.misfit(
        `outputs.${what}.tokens is [${first}, ${end}], output ${part.output} has ${all} tokens`,
      );
    }
    if (first === 0 && end === all) return out;
    const data = new Float32Array(images * (end - first) * width);
    for (let b = 0; b < images; b++) {
      data.set(
        out.data.subarray((b * all + first) * width, (b * all + end) * width),
        b * (end - first) * width,
      );
    }
    return { shape: [images, end - first, width], data };
  }
}

function statistics({ normalise }: Adapter): [mean: readonly number[], std: readonly number[]] {
  return normalise === 'bytes'
    ? [
        [0, 0, 0],
        [1, 1, 1],
      ]
    : [normalise.mean, normalise.std];
}

function firstRows({ shape, data }: Output, n: number): Output {
  const per = data.length / shape[0]!;
  return { shape: [n, ...shape.slice(1)], data: data.subarray(0, n * per) };
}

function joined(parts: Output[]): Output {
  const rows = parts.reduce((n, p) => n + p.shape[0]!, 0);
  const data = new Float32Array(parts.reduce((n, p) => n + p.data.length, 0));
  let at = 0;
  for (const p of parts) {
    data.set(p.data, at);
    at += p.data.length;
  }
  return { shape: [rows, ...parts[0]!.shape.slice(1)], data };
}
