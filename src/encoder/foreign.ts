// An encoder in an ONNX file of anyone's: bytes are normalised here, and an adapter says where its features come out.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { externalFiles } from '../engine/onnx/external.js';
import type { OnnxFile, OnnxSlot } from '../engine/onnx/session.js';
import type { Engine } from '../engine/program.js';
import { DataError, UsageError } from '../errors.js';
import { canonicalJson } from '../files/hash.js';
import { type Adapter, type AdapterPart, adapterFile, readAdapter } from './adapter.js';
import { busyThreads } from './chunks.js';
import { checkBytes, normalisedBytes } from './floors.js';
import type { FrozenEncoder } from './frozen.js';
import { type EncoderSpec, gridOf, type Size, sizeOption, sizeText, specText } from './spec.js';

interface Output {
  shape: readonly number[];
  data: Float32Array;
}

/**
 * Opens an ONNX file on onnxruntime (whatever the engine; its device when it is `onnx`) and tries it once on a grey image.
 * A file whose batch is fixed is called as often as a batch needs.
 * @throws UsageError (no adapter, a size that it does not take), DataError (adapter and file do not fit each other)
 */
export async function openForeign(
  spec: EncoderSpec,
  options: { engine: Engine; batch: number; size?: Size | undefined },
): Promise<FrozenEncoder> {
  const path = spec.place;
  const written = spec.options.get('adapter');
  const adapterPath = written ?? adapterFile(path);
  const adapter = readAdapter(adapterPath, path);
  const own = sizeOf(adapter);
  const size = sizeOption(spec, options.size) ?? own;
  const grid = gridOf(spec.text, size, adapter.patch);
  const hash = await hashOfFiles(path, adapter);
  const { OnnxEngine } = await import('../engine/onnx/session.js');
  const { engine, batch } = options;
  const by = engine.extractor ?? engine;
  const ours = new OnnxEngine({
    device: by.name === 'onnx' ? by.device : 'cpu',
    ...(engine.threads === undefined ? {} : { threads: engine.threads }),
  });
  const file = await ours.openFile(path);
  try {
    const reader = new ForeignReader(file, adapter, adapterPath, size, grid);
    const trial = await reader.run(new Uint8Array(size.height * size.width * 3).fill(128), 1);
    const isOwn = size.height === own.height && size.width === own.width;
    const name = specText(spec, { adapter: written, size: isOwn ? undefined : sizeText(size) });
    const { normalise } = adapter;
    return {
      name,
      kind: 'onnx',
      weightsHash: hash,
      size,
      patch: adapter.patch,
      grid,
      mean: normalise === 'bytes' ? [0, 0, 0] : [...normalise.mean],
      std: normalise === 'bytes' ? [1, 1, 1] : [...normalise.std],
      patchWidth: trial.patches.shape[2]!,
      globalWidth: trial.global ? trial.global.shape[1]! : null,
      registers: trial.registers
        ? { count: trial.registers.shape[1]!, width: trial.registers.shape[2]! }
        : null,
      batch,
      ...busyThreads(ours),
      run: async (images) => {
        checkBytes(name, images, batch * size.height * size.width * 3);
        const { patches, global, registers } = await reader.run(images, batch);
        return {
          patches: patches.data,
          ...(global ? { global: global.data } : {}),
          ...(registers ? { registers: registers.data } : {}),
        };
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

const sizeOf = ({ size }: Adapter): Size =>
  typeof size === 'number' ? { height: size, width: size } : { height: size[0], width: size[1] };

/** SHA-256 over the model, the files of external data that it reads, and the adapter (but the size). */
async function hashOfFiles(path: string, { size, ...adapter }: Adapter): Promise<string> {
  const bytes = await readFile(path).catch((error: Error) => {
    throw new DataError(`cannot read ${path}: ${error.message}`, { path });
  });
  const hash = createHash('sha256').update(canonicalJson(adapter)).update(bytes);
  for (const name of externalFiles(path, bytes)) {
    const file = join(dirname(path), name);
    if (!existsSync(file))
      throw new DataError(`${path} keeps weights in ${file}, which is not there`, { path });
    hash.update(`\n${name}\n`);
    for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array);
  }
  return hash.digest('hex');
}

/** Feeds an ONNX file with bytes and cuts its outputs into features. */
class ForeignReader {
  /** Images that one call of the file takes; 0: any number. */
  private readonly fixed: number;
  private readonly bytes: boolean;
  private readonly table: Float32Array;

  constructor(
    private readonly file: OnnxFile,
    private readonly adapter: Adapter,
    private readonly adapterPath: string,
    private readonly size: Size,
    private readonly grid: { rows: number; columns: number },
  ) {
    const { input, outputs, normalise } = adapter;
    const slot = this.slot('input', input.name, file.inputs);
    const others = file.inputs.filter((i) => i.name !== input.name).map((i) => i.name);
    if (others.length > 0) {
      throw new DataError(
        `${file.path} also needs ${others.join(', ')}; only images can be given: export it without`,
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
    throw this.misfit(`it has no ${what} ${name}; it has ${slots.map((s) => s.name).join(', ')}`);
  }

  private misfit(what: string): DataError {
    return new DataError(`${this.file.path} does not fit its adapter ${this.adapterPath}: ${what}`);
  }

  private inputShape(n: number): number[] {
    const { height, width } = this.size;
    return this.adapter.input.layout === 'nchw' ? [n, 3, height, width] : [n, height, width, 3];
  }

  /** Features of `n` images, calling the file as often as its batch asks for. */
  async run(
    images: Uint8Array,
    n: number,
  ): Promise<{ patches: Output; global: Output | null; registers: Output | null }> {
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
