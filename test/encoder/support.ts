// What the tests of encoders share: a folder of their own, images of bytes, and a run of a few steps.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { stream } from '../../src/base/random.js';

/** A folder that is removed after the tests of the file. */
export function encoderFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'capi-encoder-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes of `count` images [height, width, 3] without structure, the same for the same seed. */
export function randomImages(count: number, height: number, width: number, seed = 0): Uint8Array {
  const noise = stream(seed, 'images').fillUniform(new Float32Array(count * height * width * 3), 0, 256);
  return Uint8Array.from(noise);
}
