// `capi export`: what it writes and prints, and that it overwrites nothing unasked.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { capi } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
const preset = join(folder, 'tiny.yaml');
writeFileSync(
  preset,
  'model: { image_size: 16, patch_size: 4, width: 16, heads: 2, depth: 1, registers: 4, predictor: { depth: 1 } }\nclustering: { prototypes: 8 }\n',
);
const encoder = `random:${preset}?seed=2`;

describe('capi export', () => {
  it('writes an ONNX file and its adapter, compares it, and overwrites it only with --force', () => {
    const out = join(folder, 'tiny.onnx');
    const args = ['export', encoder, '--out', out, '--resolution', '8x12'];
    const { code, stdout, stderr } = capi(args);
    expect([stderr, code]).toEqual(['', 0]);
    expect(stdout).toContain(`MB, from ${encoder}&size=8x12\n`);
    expect(stdout).toMatch(/^compared at 8x12 px: largest difference \d\.\de-\d+ of the largest value$/m);
    expect(parse(readFileSync(`${out}.yaml`, 'utf8'))).toEqual({
      input: { name: 'images', layout: 'nchw' },
      size: [8, 12],
      patch: 4,
      normalise: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
      outputs: {
        global: { output: 'global' },
        registers: { output: 'registers' },
        patches: { output: 'feature_map', layout: 'nhwc' },
      },
    });
    const before = readFileSync(out);
    const refused = capi(args);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      `error: ${out} exists: name another file with --out, or overwrite it with --force\n`,
    ]);
    const forced = capi([...args, '--force', '--json']);
    expect(forced.code).toBe(0);
    const result = JSON.parse(forced.stdout);
    expect(result).toMatchObject({
      encoder: `${encoder}&size=8x12`,
      files: [out, `${out}.yaml`],
      bytes: before.length,
      size: { height: 8, width: 12 },
    });
    expect(readFileSync(out).equals(before)).toBe(true); // the same encoder gives the same bytes
  });

  it('writes safetensors', () => {
    const out = join(folder, 'tiny.safetensors');
    const { code, stdout } = capi(['export', encoder, '--out', out]);
    expect([code, existsSync(out)]).toEqual([0, true]);
    expect(stdout).toMatch(/tiny\.safetensors {2}0\.\d MB, from random:/);
  });

  it.each([
    [['export', encoder], 2, /Missing required flag out|--out/],
    [['export', encoder, '--out', 'x.pt'], 2, /--out x\.pt: accepted: FILE\.onnx or FILE\.safetensors/],
    [['export', encoder, '--out', join(folder, 'a.onnx'), '--resolution', '9'], 2, /nearest that fits: 8/],
    [['export', encoder, '--out', join(folder, 'a.onnx'), '--resolution', 'x'], 2, /--resolution is 'x'/],
    [['export', 'runs/absent', '--out', join(folder, 'a.onnx')], 2, /no encoder 'runs\/absent'/],
    [['export', encoder, '--out', join(folder, 'no', 'a.onnx')], 4, /cannot write .*a\.onnx/],
  ])('%j ends with code %i in one line', (args, code, message) => {
    const run = capi(args);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trimEnd()).not.toContain('\n');
  });
});
