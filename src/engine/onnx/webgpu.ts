// WebGPU in onnxruntime: operators that its provider lacks or computes wrongly or too coarsely, and what to do where no adapter is found.
import type { OnnxBuilder } from './builder.js';
import type { Lower, Lowerings } from './lowerings.js';
import { standardLowerings } from './standard.js';

/** 1/3!, 1/5!, ... with their signs: sin(r) = r (1 + r^2 (c0 + r^2 (c1 + ...))), good to 7e-10 for |r| <= pi/2. */
const TAYLOR = [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800];

/** pi in two parts: the first has few bits, so that its multiples below 2^13 are exact. */
const PI_HIGH = 3.140625;
const PI_LOW = Math.PI - PI_HIGH;

/**
 * sin(x + shift pi), by sums and products alone: WGSL promises sine and cosine to 2^-11 only, and SwiftShader is off by 2e-4.
 * With k the nearest whole number to x / pi + shift, r = x - (k - shift) pi lies in [-pi/2, pi/2] and the result is (-1)^k sin(r).
 */
const sine =
  (shift: number): Lower =>
  (b, _node, [x]) => {
    const by = (t: string, factor: number): string => b.node('Mul', [t, b.f32(factor)]);
    const plus = (t: string, term: number): string => b.node('Add', [t, b.f32(term)]);
    const k = b.node('Floor', [plus(by(x!, 1 / Math.PI), shift + 0.5)]);
    const turns = shift === 0 ? k : plus(k, -shift);
    const r = b.node('Sub', [b.node('Sub', [x!, by(turns, PI_HIGH)]), by(turns, PI_LOW)]);
    const square = b.node('Mul', [r, r]);
    const series = TAYLOR.reduceRight((rest, c) => plus(b.node('Mul', [square, rest]), c), b.f32(0));
    const value = b.node('Add', [r, b.node('Mul', [b.node('Mul', [r, square]), series])]);
    const odd = b.node('Sub', [k, by(b.node('Floor', [by(k, 0.5)]), 2)]);
    return [b.node('Mul', [value, plus(by(odd, -2), 1)])];
  };

/** x as a tensor of that very shape. */
const expanded = (b: OnnxBuilder, x: string, from: number[], to: number[]): string =>
  from.join() === to.join() ? x : b.node('Expand', [x, b.i64(to)]);

/** What takes the place of the lowerings for the CPU, which use operators of onnxruntime's own. */
export const webgpuLowerings: Lowerings = {
  // FusedMatMul has no WebGPU kernel: every product would run on the CPU.
  Product: standardLowerings.Product,
  BatchMatMul: standardLowerings.BatchMatMul,
  Sum: standardLowerings.Sum,
  Mean: standardLowerings.Mean,
  // SimplifiedLayerNormalization leaves its second output, 1/rms, unwritten.
  RmsNorm: (b, node, [x, gain]) => {
    const width = node.inputs[0]!.shape.at(-1)!;
    const eps = node.attrs.eps as number;
    const scale = gain ?? b.constant(new Float32Array(width).fill(1), [width], 'float32');
    const attrs = { axis: -1, epsilon: { f: eps }, stash_type: 1 };
    const squares = b.node('ReduceSumSquare', [x!, b.i64([-1])], { keepdims: 1 });
    const mean = b.node('Mul', [squares, b.f32(1 / width)]);
    const rms = b.node('Sqrt', [b.node('Add', [mean, b.f32(eps)])]);
    return [b.node('SimplifiedLayerNormalization', [x!, scale], attrs), b.node('Reciprocal', [rms])];
  },
  // Sum of more than one operand has no kernel.
  AddN: (b, _node, names) => [names.reduce((sum, name) => b.node('Add', [sum, name]))],
  Sin: sine(0),
  Cos: sine(0.5),
  // Pow fails where it broadcasts over the last axis.
  Pow: (b, node, names) => [
    b.node(
      'Pow',
      names.map((name, i) => expanded(b, name, node.inputs[i]!.shape, node.outputs[0]!.shape)),
    ),
  ],
};

/** What to type to get WebGPU. */
export const WEBGPU_FIX =
  'WebGPU needs a GPU with a Vulkan, Metal or Direct3D 12 driver. On Debian: apt-get install libvulkan1 vulkan-tools and the driver of the GPU ' +
  "(mesa-vulkan-drivers, or NVIDIA's own); vulkaninfo --summary lists the devices found. VK_DRIVER_FILES=FILE.json chooses the driver";

/** The message of an engine that found no adapter; `message` is onnxruntime's. */
export function noAdapter(message: string): string {
  const reason = /adapter: ([^\n]+)/.exec(message)?.[1]?.trim();
  return `onnxruntime finds no WebGPU adapter${reason ? ` (${reason})` : ''}. ${WEBGPU_FIX}; or take --device cpu`;
}
