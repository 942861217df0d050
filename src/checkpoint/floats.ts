// Stored tensors as float32: half precision and bfloat16 exactly, float64 rounded.
import type { StoredTensor } from '../base/safetensors.js';

/** float16 bits to a number. Source: IEEE 754 binary16. */
function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** The values of a floating-point tensor as float32 (the same memory where they are that already), or undefined for other types. */
export function float32Values({ dtype, data }: StoredTensor): Float32Array | undefined {
  switch (dtype) {
    case 'F32':
      return data as Float32Array;
    case 'F64':
      return Float32Array.from(data as Float64Array);
    case 'F16':
      return Float32Array.from(data as Uint16Array, fromHalf);
    case 'BF16': {
      const bits = Uint32Array.from(data as Uint16Array, (b) => b << 16);
      return new Float32Array(bits.buffer);
    }
    default:
      return undefined;
  }
}
