// The two passes of the resampler, run in WebAssembly (resample.wat): the memory that they share, and what goes in and out of it.
import { RESAMPLE_WASM } from './resample_wasm.js';

/** For each output pixel of a line: the first input pixel that it reads, and the fixed-point weights of it and those that follow, in rows of `taps`: along a row a multiple of 4. */
export interface Weights {
  taps: number;
  first: Int32Array;
  values: Int32Array;
}

/** Lines become as long as `weights` has rows, those along a row mirrored if asked. */
export type Pass =
  | { along: 'row'; weights: Weights; mirror: boolean }
  | { along: 'column'; weights: Weights };

/** Bytes [height, width, 3] in rows that begin `stride` bytes apart. */
export interface Rows {
  data: Uint8Array;
  stride: number;
  height: number;
  width: number;
}

/** What is used of WebAssembly, whose types come with a browser's. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: object };
};

interface Kernels {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  horizontal(...addressesAndSizes: number[]): void;
  vertical(...addressesAndSizes: number[]): void;
}

const PAGE = 65_536;
const BEYOND = 64; // bytes behind what is read and written: the passes take up to 16 at a time, and taps of weight zero lie beyond short rows

let instance: Kernels | undefined;

function kernels(bytes: number): Kernels {
  instance ??= new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(RESAMPLE_WASM, 'base64')))
    .exports as Kernels;
  const { memory } = instance;
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  return instance;
}

/** Two weights at a time as the horizontal pass reads them: their upper parts, then their last 11 bits. */
function pairs(values: Int32Array): Int32Array {
  const out = new Int32Array(values.length);
  for (let i = 0; i < out.length; i += 2) {
    const [a, b] = [values[i]!, values[i + 1]!];
    out[i] = ((a >> 11) & 0xffff) | ((b >> 11) << 16);
    out[i + 1] = (a & 0x7ff) | ((b & 0x7ff) << 16);
  }
  return out;
}

/** Takes `rows` through the passes in their order, each rounding to bytes. Returns bytes of its own. */
export function runPasses(rows: Rows, passes: readonly Pass[]): Uint8Array {
  let end = 0;
  const room = (bytes: number): number => {
    const at = end;
    end = Math.ceil((at + bytes + BEYOND) / 16) * 16;
    return at;
  };
  const source = room(rows.data.length);
  let { height, width } = rows;
  const steps = passes.map((pass) => {
    const { first, values } = pass.weights;
    if (pass.along === 'row') width = first.length;
    else height = first.length;
    const [at, weights] = [room(first.byteLength), room(values.byteLength)];
    return { pass, at, weights, out: room(height * width * 3), height, width };
  });
  const { memory, horizontal, vertical } = kernels(end);
  new Uint8Array(memory.buffer).set(rows.data, source);
  const integers = new Int32Array(memory.buffer);
  let [from, stride] = [source, rows.stride];
  for (const { pass, at, weights, out, height, width } of steps) {
    const { first, values, taps } = pass.weights;
    integers.set(first, at / 4);
    integers.set(pass.along === 'row' ? pairs(values) : values, weights / 4);
    if (pass.along === 'row')
      horizontal(from, stride, height, at, weights, taps, out, width, Number(pass.mirror));
    else vertical(from, stride, width * 3, at, weights, taps, out, height);
    [from, stride] = [out, width * 3];
  }
  return new Uint8Array(memory.buffer, from, height * width * 3).slice();
}
