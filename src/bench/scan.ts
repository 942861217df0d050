// The axes along which `capi bench pretrain --scan` lets the cost of a step grow, from the size of benchmarks/speed/step.yaml.
import { UsageError } from '../errors.js';

export interface ScanAxis {
  full: number[];
  quick: number[];
  /** Settings of one value. */
  sets(value: number): string[];
}

export const AXES = {
  batch: { full: [16, 32, 64, 128], quick: [2, 4], sets: (n) => [`train.batch=${n}`] },
  /** Patches of an image: a square number of them, of the size's own patches. */
  tokens: {
    full: [36, 64, 144, 256],
    quick: [9, 16],
    sets: (n) => ['model.patch_size=4', `model.image_size=${4 * Math.round(Math.sqrt(n))}`],
  },
  /** Heads stay 64 wide. */
  width: {
    full: [128, 192, 384, 768],
    quick: [64, 128],
    sets: (n) => [`model.width=${n}`, `model.heads=${Math.max(1, Math.round(n / 64))}`],
  },
  prototypes: {
    full: [256, 1024, 4096, 16384],
    quick: [16, 32],
    sets: (n) => [`clustering.prototypes=${n}`],
  },
} satisfies Record<string, ScanAxis>;

export type Axis = keyof typeof AXES;

/** `16,32` as numbers. @throws UsageError */
export function valuesOf(text: string): number[] {
  const values = text.split(',').map(Number);
  if (values.every((n) => Number.isInteger(n) && n > 0)) return values;
  throw new UsageError(`--values ${text}: accepted: whole numbers above 0, such as 16,32,64`);
}
