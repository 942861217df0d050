// YAML that is not ours: what is read, what is refused in one line, and that no text takes the machine down.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/index.js';
import { readYaml, yamlValue } from '../../src/config/yaml.js';
import { UsageError } from '../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-yaml-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
function file(name: string, text: string): string {
  writeFileSync(at(name), text);
  return at(name);
}
function refusal(work: () => unknown): string {
  const begin = performance.now();
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).not.toContain('\n');
    expect((error as Error).message.length).toBeLessThan(500);
    expect(performance.now() - begin).toBeLessThan(10_000);
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi']
  .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(', ')}]`)
  .join('\n')}\n`;

describe('a text', () => {
  it('is plain data; aliases are values, and -0 is 0', () => {
    expect(yamlValue('a: &x [1, -0, .inf]\nb: *x\nc: 0x10\n', 'it')).toEqual({
      a: [1, 0, Number.POSITIVE_INFINITY],
      b: [1, 0, Number.POSITIVE_INFINITY],
      c: 16,
    });
  });

  it.each([
    ['a bomb of aliases', bomb, /aliases/],
    ['an alias of itself', 'a: &m { b: *m }', /holds itself|aliases/],
    ['brackets', '['.repeat(200_000), /nested too deeply|not YAML/],
    ['two documents', 'a: 1\n---\nb: 2\n', /multiple documents/],
    ['a key twice', 'a: 1\na: 2\n', /unique/],
    ['a tag', 'a: !!js/function "x"\n', /not YAML/],
    ['__proto__', 'a: { __proto__: 1 }\n', /__proto__/],
    ['an alias of nothing', 'a: *b\n', /alias/i],
  ])('%s', (_, text, message) => {
    expect(refusal(() => yamlValue(text, 'it'))).toMatch(message);
  });
});

describe('a file', () => {
  it('is regular, and of bounded size', () => {
    execFileSync('mkfifo', [at('fifo')]);
    expect(refusal(() => readYaml(at('fifo'), 'grid'))).toMatch(
      /cannot read grid .*fifo: it is no regular file/,
    );
    expect(refusal(() => readYaml('/dev/zero', 'grid'))).toMatch(/no regular file/);
    expect(refusal(() => readYaml(folder, 'grid'))).toMatch(/it is a folder/);
    expect(refusal(() => readYaml(at('nowhere'), 'grid'))).toMatch(/cannot read grid .*ENOENT/);
    expect(refusal(() => readYaml(file('large', `# ${'x'.repeat(2 ** 20)}`), 'grid'))).toMatch(
      /larger than 1 MiB/,
    );
    expect(readYaml(file('small', `# ${'x'.repeat(2 ** 20 - 10)}\na: 1`), 'grid')).toEqual({ a: 1 });
  });
});

describe('a preset', () => {
  it.each([
    ['', /sets nothing, and the defaults are a ViT-L\/14 at a batch of 16,384: write "extends: quickstart"/],
    ['# nothing\n', /sets nothing/],
    ['train: { steps: 5 }', /extends nothing and does not set model\.width, model\.depth, train\.batch/],
    ['model: { width: 8, depth: 1 }', /does not set train\.batch/],
    ['extends:\n', /extends in .* is null/],
    ['extends: quickstart\noptim.lr: 1e-3', /"optim\.lr" with a dot.*write optim: \{ lr: 0\.001 \}/],
    ['extends: quickstart\nmodel.predictor.depth: 2', /write model: \{ predictor: \{ depth: 2 \} \}/],
    ['extends: quickstart\nmodel: { predictor.depth: 2 }', /"model\.predictor\.depth" with a dot|with a dot/],
    ['extends: quickstart\noptm.lr: 1', /unknown config key "optm\.lr".*did you mean "optim\.lr"/],
    ['extends: quickstart\ndata: { normalise: { mean: [0, 0, 0] } }', /data\.normalise is \{"mean"/],
  ])('%j', (text, message) => {
    expect(refusal(() => loadConfig({ preset: file('x.yaml', text) }))).toMatch(message);
  });

  it('may say its size itself, or leave it to what it extends or to --set', () => {
    const own = file('own.yaml', 'model: { width: 64, depth: 1 }\ntrain: { batch: 4 }');
    expect(loadConfig({ preset: own }).config.train.batch).toBe(4);
    const part = file('part.yaml', 'train: { steps: 5 }');
    const sets = ['model.width=64', 'model.depth=1', 'train.batch=4'];
    expect(loadConfig({ preset: part, sets }).config.train).toEqual({ steps: 5, batch: 4 });
    expect(loadConfig({ preset: file('child.yaml', 'extends: vit-l-14') }).config.train.batch).toBe(16_384);
  });
});

describe('numbers beyond reason', () => {
  it.each([
    'model.depth=10000000',
    'model.width=1000000',
    'model.heads=1e6',
    'model.registers=1e6',
    'model.mlp_ratio=1e9',
    'model.image_size=1000000',
    'model.image_size=[224, 1e6]',
    'clustering.prototypes=1e9',
    'clustering.iterations=1e9',
    'train.batch=1e9',
    'train.steps=1e12',
    'engine.threads=1e9',
    'optim.lr=.inf',
    'seed=.nan',
    'seed=1e300',
  ])('%s', (text) => {
    expect(refusal(() => loadConfig({ preset: 'quickstart', sets: [text] }))).toMatch(/ is .*; accepted: /);
  });
});
