// The retrieval part of a protocol file: which vectors stand for an image, how it is resized, and where recall and precision are read off.
import { z } from 'zod';
import type { InputTransform } from '../dataset.js';
import { DEPTHS } from './about.js';

const distinct = (values: readonly unknown[]): boolean => new Set(values).size === values.length;

/** Vectors of an image: the feature sources of classification but those of tokens. */
const VECTORS = [
  'global',
  'average_patch',
  'global+average_patch',
  'average_register',
  'concatenated_registers',
] as const;

/** The key `retrieval` of a protocol file. Nothing has a default: a file says all that its numbers depend on. */
export const retrievalProtocolSchema = z.strictObject({
  /** Those that an encoder lacks (no global vector, no registers) are left out. */
  sources: z.array(z.enum(VECTORS)).min(1).refine(distinct, 'each value once'),
  transform: z.strictObject({
    /** Input side in pixels; null: the encoder's own size. */
    image_size: z.number().int().min(1).nullable(),
    /** The shorter side before the centre crop, as a multiple of the crop; null: the whole image, its aspect ratio not kept. */
    shorter_side: z.number().min(1).nullable(),
  }),
  /** Recall, or precision, of the first k. */
  k: z.array(z.literal(DEPTHS)).min(1).refine(distinct, 'each value once'),
});
export type RetrievalProtocol = z.infer<typeof retrievalProtocolSchema>;

/** How images become inputs. */
export const inputOf = ({ transform: { shorter_side } }: RetrievalProtocol): InputTransform =>
  shorter_side === null ? { kind: 'squash' } : { kind: 'resize-crop', shorter: shorter_side };
