// What a process that runs a foreign model is asked, and what it answers.
import type { ForeignFeatures, ReaderPlan } from './foreign_reader.js';

/** What the parent asks for; every answer is an Answer. */
export type ChildRequest =
  | {
      ask: 'open';
      path: string;
      device: 'cpu' | 'cuda' | 'webgpu';
      threads: number | undefined;
      plan: ReaderPlan;
    }
  | { ask: 'run'; images: Uint8Array; n: number };
export type ChildAnswer =
  | { features?: ForeignFeatures }
  /** `name` is a class of errors.ts, or anything for an error that nobody expected. */
  | { error: { name: string; message: string } };

/** Written to the standard error right before the process ends itself for its memory. */
export const OUT_OF_MEMORY = 'capi: out of memory';
