// `evals` of a config inside a run, and evaluations that are stopped in the middle.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { resolvedYaml } from '../../src/config/index.js';
import { openEngine } from '../../src/engine/select.js';
import { InterruptedError } from '../../src/errors.js';
import { type EvaluateOptions, evaluate } from '../../src/probes/evaluate.js';
import { smallConfig, temporaryFolder } from '../pretrain/small_run.js';
import { capi, root } from './capi.js';

const folder = temporaryFolder();
const data = 'synthetic:scenes?size=32&count=40&difficulty=0';
const protocol = join(folder, 'tiny.yaml');
const preset = join(folder, 'small.yaml');
const env = { CAPI_CACHE: join(folder, 'cache') };

beforeAll(() => {
  const quick = parse(readFileSync(join(root, 'benchmarks/protocols/quick.yaml'), 'utf8'));
  const { classification: cls, segmentation: seg } = quick;
  const tiny = {
    classification: {
      ...cls,
      learning_rates: [1e-2],
      batch: 8,
      steps: 30,
      warmup_steps: 2,
      few_shot: null,
      knn: null,
    },
    segmentation: { ...seg, knn: null, logreg: { ...seg.logreg, C: [1e-2, 1] }, linear: null },
  };
  writeFileSync(protocol, JSON.stringify(tiny));
  writeFileSync(preset, resolvedYaml(smallConfig()));
});

const bytes = (run: string): Buffer => readFileSync(join(run, 'checkpoints', 'step-00000010.safetensors'));

describe('evals inside a run', () => {
  const entry = (more = '') =>
    `evals=[{task: seg, every: 5, train: '${data}', test: '${data}', protocol: '${protocol}'${more}}]`;

  it('changes no byte of it, and notes each evaluation once', () => {
    const [plain, watched] = [join(folder, 'plain'), join(folder, 'watched')];
    expect(capi(['pretrain', preset, '--out', plain], env).code).toBe(0);
    const first = capi(['pretrain', preset, '--out', watched, '--set', entry()], env);
    expect(first.code, first.stderr).toBe(0);
    expect(bytes(watched).equals(bytes(plain))).toBe(true);
    const lines = () => readFileSync(join(watched, 'evals.jsonl'), 'utf8').trimEnd().split('\n');
    expect(lines().map((line) => JSON.parse(line).step)).toEqual([5, 10]);
    for (const line of lines()) expect(existsSync(JSON.parse(line).record)).toBe(true);
    expect(capi(['pretrain', preset, '--out', watched, '--set', entry()], env).code).toBe(0);
    expect(lines()).toHaveLength(2);
  });

  it('ends a run with a mistake in them before it begins', () => {
    const out = join(folder, 'never');
    const wrong = capi(['pretrain', preset, '--out', out, '--set', entry().replace(protocol, 'quik')], env);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('no protocol quik')]);
    const key = capi(['pretrain', preset, '--out', out, '--set', entry(', evry: 3')], env);
    expect([key.code, key.stderr]).toEqual([2, expect.stringContaining('evals')]);
    expect(existsSync(out)).toBe(false);
  });
});

describe('an evaluation that is stopped', () => {
  it.each(['cls', 'seg'] as const)('%s goes on and ends as one that was not', async (task) => {
    const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: 1 });
    const options = (name: string, watch?: EvaluateOptions['watch']): EvaluateOptions => {
      const out = join(folder, `${task}-${name}`);
      mkdirSync(out, { recursive: true });
      return {
        task,
        engine,
        encoders: [`random:${preset}`],
        train: data,
        tests: [data],
        protocol,
        weights: 'ema',
        floors: false,
        memory: 1e9,
        limit: null,
        seed: 0,
        out,
        store: join(folder, `${task}-${name}-store`),
        force: false,
        ...(watch ? { watch } : {}),
      };
    };
    const stages = new Set<string>();
    const [whole] = await evaluate(options('whole', { onStage: (_, stage) => void stages.add(stage) }));
    expect(stages.size).toBeGreaterThan(2);
    for (const stage of stages) {
      const stop = new AbortController();
      const onStage = (_: string, now: string): void => {
        if (now === stage) stop.abort('test');
      };
      const work = evaluate(options('stopped', { signal: stop.signal, onStage }));
      await expect(work, stage).rejects.toThrow(InterruptedError);
    }
    const [resumed] = await evaluate(options('stopped'));
    expect(resumed!.record.results).toEqual(whole!.record.results);
    expect(resumed!.record.predictions.sha256).toBe(whole!.record.predictions.sha256);
    expect(readdirSync(join(folder, `${task}-stopped`, resumed!.record.id))).not.toContain('state');
  });
});
