// The bytes in which an unfinished training of linear heads is kept: steps done and every tensor, exactly.
import { UsageError } from '../../errors.js';

/** Where a training is. */
export interface TrainingState {
  /** Steps done. */
  readonly step: number;
  /** By name; also `losses`, those of the last step. */
  readonly tensors: Record<string, Float32Array>;
}

interface Header {
  /** Hash of what the training depends on. */
  of: string;
  step: number;
  lengths: Record<string, number>;
}

/** One line of JSON, then all values. */
export function packTraining(of: string, { step, tensors }: TrainingState): Uint8Array {
  const lengths = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.length]));
  const header: Header = { of, step, lengths };
  const bytes = Object.values(tensors).map((t) => new Uint8Array(t.buffer, t.byteOffset, t.byteLength));
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...bytes]);
}

/** @throws UsageError when the bytes are of another training or damaged */
export function unpackTraining(of: string, bytes: Uint8Array): TrainingState {
  let header: Header | undefined;
  const end = bytes.indexOf(10) + 1;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))) as Header;
  } catch {
    // Told below.
  }
  const total = Object.values(header?.lengths ?? {}).reduce((sum, length) => sum + 4 * length, 0);
  if (header?.of !== of || bytes.length !== end + total) {
    throw new UsageError('the saved linear heads are damaged or of another evaluation: start it anew');
  }
  const tensors: Record<string, Float32Array> = {};
  let at = end;
  for (const [name, length] of Object.entries(header.lengths)) {
    const own = new Float32Array(length);
    new Uint8Array(own.buffer).set(bytes.subarray(at, at + 4 * length));
    tensors[name] = own;
    at += 4 * length;
  }
  return { step: header.step, tensors };
}
