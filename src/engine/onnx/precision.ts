// Mixed precision: matrix products on factors and with results in bfloat16, everything between them in float32.
import { EngineError } from '../../errors.js';
import type { Node } from '../graph/ir.js';
import { summedChannels } from '../graph/kernels.js';
import type { DeviceName, Program } from '../program.js';
import type { OnnxBuilder } from './builder.js';
import { type Lower, type Lowerings, lowerings } from './lowerings.js';
import { webgpuLowerings } from './webgpu.js';

const [FLOAT, BFLOAT16] = [1, 16]; // TensorProto.DataType
const cast = (b: OnnxBuilder, x: string, to: number): string => b.node('Cast', [x], { to });

/** Sums that are written as products with a vector of ones, such as those of Sinkhorn-Knopp, stay in float32. */
function isProduct(node: Node): boolean {
  const out = node.outputs[0]!.shape;
  return Math.min(out.at(-2)!, out.at(-1)!, summedChannels(node)) > 1;
}

/**
 * `kernel` on rounded factors, with a rounded result. CUDA multiplies bfloat16 and adds in float32; elsewhere (no other provider has such a product)
 * the same roundings are made around a product of float32.
 */
const rounded =
  (kernel: 'Product' | 'BatchMatMul', device: DeviceName): Lower =>
  (b, node, names) => {
    const lower = lowerings[kernel];
    if (!isProduct(node)) return lower(b, node, names);
    const down = (x: string): string => {
      const y = cast(b, x, BFLOAT16);
      return device === 'cuda' ? y : cast(b, y, FLOAT);
    };
    const y = lower(b, node, names.map(down))[0]!;
    return [cast(b, device === 'cuda' ? y : cast(b, y, BFLOAT16), FLOAT)];
  };

const bfloat16Lowerings = (device: DeviceName): Lowerings => {
  const Product = rounded('Product', device);
  return {
    Product,
    BatchMatMul: rounded('BatchMatMul', device),
    // The addend, a residual stream or a sum of gradients, is not rounded.
    ProductAdd: (b, node, [left, right, addend]) => [
      b.node('Add', [Product(b, node, [left!, right!])[0]!, addend!]),
    ],
  };
};

/**
 * What takes the place of the lowerings for a CPU in float32.
 * @throws EngineError where the device has no products as the program wants them
 */
export function loweringsFor({ name, products }: Program, device: DeviceName): Lowerings {
  if (products === undefined) return device === 'webgpu' ? webgpuLowerings : {};
  if (device === 'webgpu') {
    throw new EngineError(
      `program ${name}: WebGPU has no ${products}. Take --device cuda, or --device cpu, which rounds in software; or --set precision.products=float32`,
    );
  }
  return bfloat16Lowerings(device);
}
