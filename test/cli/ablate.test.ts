// capi ablate as a user runs it: real processes, kills at any moment, cells that fail, and what a second call does.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sealedText } from '../../src/base/files/seal.js';
import { encodePng } from '../../src/images/index.js';
import { ORIGIN_COLUMNS } from '../../src/report/formats/rows.js';
import { comparableCells, tinyProtocol } from '../support/cells.js';
import { capi, root } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-ablate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const protocol = tinyProtocol(folder);
/** A grid of small runs; `more` adds keys and replaces none. */
function gridFile(name: string, more: string, steps = 12): string {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(
    file,
    `name: ${name}
base: quickstart
set:
  model: { image_size: 32, width: 16, heads: 2, depth: 1, predictor: { depth: 1 } }
  clustering.prototypes: 16
  data.source: 'synthetic:scenes?size=32&count=200'
  train: { steps: ${steps}, batch: 16 }
  health.every: 4
  checkpoint.every: 5
evals: [{ task: seg, protocol: ${protocol}, limit: 30 }]
${more}
`,
  );
  return file;
}
const TWO_ARMS = 'design: one-factor\naxes: { predictor: [fused] }\nseeds: 2';

interface Cells {
  cells: {
    id: string;
    arm: string;
    seed: number;
    evaluation: string;
    state: string;
    reason: string | null;
  }[];
}
const states = (stdout: string): string[] =>
  (JSON.parse(stdout) as Cells).cells.map(({ arm, seed, state }) => `${arm}/${seed} ${state}`);
const at = (name: string): string => join(folder, name);

/** Lines and fields of a CSV file, quotes taken off. */
function parse(text: Buffer): string[][] {
  const lines: string[][] = [[]];
  for (const [, field, end] of text.toString('utf8').matchAll(/("(?:[^"]|"")*"|[^,\n]*)(,|\n)/g)) {
    lines.at(-1)!.push(field!.startsWith('"') ? field!.slice(1, -1).replaceAll('""', '"') : field!);
    if (end === '\n') lines.push([]);
  }
  return lines.slice(0, -1);
}

/** Processes that work in a folder, by their command line. */
function processesIn(out: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(out);
      } catch {
        return false;
      }
    });
}
async function untilNoneIn(out: string, seconds = 20): Promise<void> {
  const end = Date.now() + 1000 * seconds;
  while (processesIn(out).length > 0) {
    if (Date.now() > end) throw new Error(`processes are left in ${out}: ${processesIn(out)}`);
    await sleep(100);
  }
}
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function start(...args: string[]): {
  child: ChildProcess;
  ended: Promise<{ code: number | null; signal: string | null; stderr: string }>;
} {
  const child = spawn(process.execPath, [`${root}dist/src/main.js`, 'ablate', ...args], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr!.on('data', (text) => {
    stderr += text;
  });
  return {
    child,
    ended: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stderr }))),
  };
}

const grid = gridFile('pair', TWO_ARMS);
const whole = at('whole');
/** The study, run without a stop. */
let undisturbed: Record<string, unknown>;
beforeAll(() => {
  const run = capi(['ablate', '--grid', grid, '--out', whole, '--jobs', '2', '--json']);
  expect(run.code, run.stdout + run.stderr).toBe(0);
  expect(states(run.stdout)).toEqual([
    'base/0 done',
    'predictor=fused/0 done',
    'base/1 done',
    'predictor=fused/1 done',
  ]);
  undisturbed = comparableCells(whole);
});

describe('a grid', () => {
  it('leaves a record a cell with its origin, per-image counts, pictures and a plan', () => {
    const plan = JSON.parse(readFileSync(join(whole, 'plan.json'), 'utf8'));
    expect(plan).toMatchObject({ name: 'pair', design: 'one-factor', baseline: 0, seeds: [0, 1] });
    expect(plan.command).toBe(`capi ablate --grid ${grid} --out ${whole}`);
    expect(readFileSync(join(whole, 'grid.yaml'), 'utf8')).toBe(readFileSync(grid, 'utf8'));
    for (const id of Object.keys(undisturbed)) {
      const files = readdirSync(join(whole, 'cells', id)).sort();
      expect(files).toEqual(['cell.json', expect.stringMatching(/^counts-.*\.json\.gz$/), 'features.png']);
      const record = JSON.parse(readFileSync(join(whole, 'cells', id, 'cell.json'), 'utf8'));
      expect(record.commands[0]).toMatch(/^capi pretrain quickstart --seed \d --threads 1 --set /);
      expect(record.commands[1]).toMatch(/^capi eval seg runs\/[0-9a-f]{16} --train /);
      expect(record.run.curve).toHaveLength(12);
      const metrics = readFileSync(join(whole, 'runs', record.run.id, 'metrics.jsonl'), 'utf8');
      const { dead_share, dominance, position_information } = JSON.parse(
        metrics.trimEnd().split('\n').at(-1)!,
      );
      expect(record.run.health).toEqual({ dead_share, dominance, position_information });
      expect(dominance).toBeGreaterThan(1); // the largest share of a prototype over the mean share
    }
    expect(readdirSync(join(whole, 'work'))).toEqual([]);
  });

  it('gives the same rows one at a time', () => {
    const out = at('serial');
    expect(capi(['ablate', '--grid', grid, '--out', out, '--jobs', '1', '--json']).code).toBe(0);
    expect(comparableCells(out)).toEqual(undisturbed);
    // The rows of the reports too, but for the columns that say when and where.
    const rows = (of: string): unknown => {
      expect(capi(['report', of, '--format', 'csv', '--out', join(of, 'report'), '--json']).code).toBe(0);
      const [head, ...lines] = parse(readFileSync(join(of, 'report/rows.csv')));
      const kept = head!.flatMap((name, i) =>
        (ORIGIN_COLUMNS as readonly string[]).includes(name) ? [] : [i],
      );
      expect(kept.length).toBe(head!.length - ORIGIN_COLUMNS.length);
      return lines.map((line) => kept.map((i) => line[i]));
    };
    expect(rows(out)).toEqual(rows(whole));
  });

  it('is done the second time, whatever became of its runs', () => {
    rmSync(join(whole, 'runs'), { recursive: true });
    const run = capi(['ablate', '--grid', grid, '--out', whole]);
    expect(run.code).toBe(0);
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/4 done of 4 cells\nreport: capi report /);
    expect(existsSync(join(whole, 'runs'))).toBe(false);
  });

  it('takes another arm without running anything again', () => {
    const more = gridFile('pair', `${TWO_ARMS}\narms: { plain: { registers: 0 } }`);
    const run = capi(['ablate', '--grid', more, '--out', whole, '--only', 'plain', '--limit', '1', '--json']);
    expect(run.code, run.stdout).toBe(0);
    expect(states(run.stdout)).toEqual(['plain/0 done', 'plain/1 waiting']);
    expect(comparableCells(whole)).toMatchObject(undisturbed);
    const status = capi(['ablate', '--grid', more, '--out', whole, '--status']);
    expect(status.stdout).toMatch(/plain +1 +0 +seg +waiting/);
    expect(status.stdout).toMatch(/5 done, 1 waiting of 6 cells/);
    gridFile('pair', TWO_ARMS);
  });
});

describe('kills', () => {
  it('ten times with SIGKILL, in pretraining and in evaluation: nothing but what was in flight is lost, no process is left', async () => {
    const many = gridFile('many', TWO_ARMS.replace('seeds: 2', 'seeds: 5'));
    const [out, straight] = [at('killed'), at('straight')];
    expect(capi(['ablate', '--grid', many, '--out', straight, '--json']).code).toBe(0);
    /** When something below `part` was last written; locks are written by waiting too. */
    const written = (part: string): number => {
      const below = existsSync(join(out, part))
        ? readdirSync(join(out, part), { recursive: true, encoding: 'utf8' })
        : [];
      const times = below.flatMap((name) => {
        const found = name.endsWith('.lock')
          ? undefined
          : statSync(join(out, part, name), { throwIfNoEntry: false });
        return found ? [found.mtimeMs] : [];
      });
      return Math.max(0, ...times);
    };
    const unfinished = (): boolean =>
      !existsSync(join(out, 'cells')) || Object.keys(comparableCells(out)).length < 10;
    for (let kill = 0; kill < 10; kill++) {
      const part = kill % 2 === 0 ? 'runs' : 'work'; // a run's metrics and checkpoints; an evaluation's features and state
      const begin = Date.now();
      const { child, ended } = start('--grid', many, '--out', out, '--jobs', '2');
      while (written(part) < begin && child.exitCode === null) await sleep(10);
      await sleep(25 * kill); // later and later into it
      expect(unfinished(), `before kill ${kill + 1}`).toBe(true);
      child.kill('SIGKILL');
      expect((await ended).signal, `kill ${kill + 1}`).toBe('SIGKILL');
      await untilNoneIn(out, 20);
    }
    const last = capi(['ablate', '--grid', many, '--out', out, '--jobs', '2', '--json']);
    expect(last.code, last.stdout + last.stderr).toBe(0);
    expect(states(last.stdout).every((s) => s.endsWith('done'))).toBe(true);
    expect(comparableCells(out)).toEqual(comparableCells(straight));
    await untilNoneIn(out);
  }, 600_000);

  it('Ctrl-C ends with 130 and a line that says how to go on; the same command does', async () => {
    const out = at('stopped');
    const long = gridFile('long', 'arms: { a: { registers: 0 } }\nseeds: 1', 400);
    const { child, ended } = start('--grid', long, '--out', out, '--jobs', '2');
    const training = (): boolean =>
      existsSync(join(out, 'runs')) &&
      readdirSync(join(out, 'runs')).some((run) => existsSync(join(out, 'runs', run, 'metrics.jsonl')));
    while (!training() && child.exitCode === null) await sleep(50);
    child.kill('SIGINT');
    const { code, stderr } = await ended;
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(
      /interrupted by SIGINT; finished cells are kept and runs have a checkpoint\. The same command goes on/,
    );
    await untilNoneIn(out, 5);
    const steps = readdirSync(join(out, 'runs')).map(
      (run) => readdirSync(join(out, 'runs', run, 'checkpoints')).length,
    );
    expect(Math.max(...steps)).toBeGreaterThan(0);
    expect(capi(['ablate', '--grid', long, '--out', out, '--json']).code).toBe(0);
  });
});

describe('cells that go wrong', () => {
  it('collapsed and diverged runs are recorded as such, failed ones reported, and none stops the others', async () => {
    // Pictures of one colour: all patches have one feature, whatever the encoder learns.
    mkdirSync(join(folder, 'flat'));
    for (let i = 0; i < 16; i++) {
      const data = new Uint8Array(32 * 32 * 3).fill(100);
      writeFileSync(join(folder, 'flat', `${i}.png`), await encodePng({ data, height: 32, width: 32 }));
    }
    const out = at('wrong');
    const file = gridFile(
      'wrong',
      `seeds: 1
arms:
  diverges: { optim.lr: 1.0e+30, optim.warmup: 0 }
  collapses: { loss: direct, registers: 0, data.source: 'folder:${join(folder, 'flat')}' }
  fine: { registers: 0 }
`,
    );
    const planned = capi(['ablate', '--grid', file, '--out', out, '--limit', '1', '--json']);
    expect(planned.code, planned.stdout).toBe(0);
    // The run of `fine` finds its folder taken by something else.
    const runs = JSON.parse(readFileSync(join(out, 'runs.json'), 'utf8')).runs as {
      id: string;
      arm: number;
    }[];
    const fine = runs.find(({ arm }) => arm === 3)!.id;
    writeFileSync(join(out, 'runs', fine), 'not a folder');
    const run = capi(['ablate', '--grid', file, '--out', out, '--json']);
    expect(run.code).toBe(1);
    const { cells } = JSON.parse(run.stdout) as Cells;
    const state = Object.fromEntries(cells.map(({ arm, state, reason }) => [arm, [state, reason]]));
    expect(state.base![0]).toBe('done');
    expect(state.diverges).toEqual(['diverged', expect.stringMatching(/^training diverged: /)]);
    expect(state.collapses).toEqual(['collapsed', expect.stringMatching(/^collapsed at step \d+ of 12: /)]);
    expect(state.fine).toEqual([
      'failed',
      expect.stringMatching(/cannot be a run folder|it is a file|ENOTDIR/),
    ]);
    const record = (arm: string) =>
      JSON.parse(readFileSync(join(out, 'cells', cells.find((c) => c.arm === arm)!.id, 'cell.json'), 'utf8'));
    expect(record('diverges').results).toEqual([]);
    expect(record('collapses').results.length).toBeGreaterThan(0);
    const report = capi(['report', out, '--format', 'md']);
    expect(report.code, report.stderr).toBe(0);
    expect(report.stdout).toMatch(/\| diverges \| diverged/);
    expect(report.stdout).toMatch(/fine, seed 0: seg failed: /);
    rmSync(join(out, 'runs', fine));
    expect(capi(['ablate', '--grid', file, '--out', out, '--json']).code).toBe(0);
  });
});

describe('capi reproduce', () => {
  it('gives the cell again, and says so of every score; a number that is not its own is outside', () => {
    const id = Object.keys(undisturbed)[0]!;
    const file = join(whole, 'cells', id, 'cell.json');
    const run = capi(['reproduce', file, '--out', at('again'), '--json']);
    expect(run.code, run.stdout + run.stderr).toBe(0);
    const { reproduced, scores } = JSON.parse(run.stdout);
    expect(reproduced).toBe(true);
    expect(new Set(scores.map((s: { verdict: string }) => s.verdict))).toEqual(new Set(['equal']));
    const { sha256, ...record } = JSON.parse(readFileSync(file, 'utf8'));
    for (const r of record.results) {
      r.value += 0.3;
      if (r.interval) r.interval = { low: r.interval.low + 0.3, high: r.interval.high + 0.3 };
    }
    const copy = join(at('again'), 'cell.json'); // the run is there: only the verdict is new
    writeFileSync(copy, JSON.stringify({ ...record, sha256 }));
    const edited = capi(['reproduce', copy, '--out', at('again'), '--json']);
    expect(edited.code).toBe(4);
    expect(edited.stdout).toMatch(/was changed after it was written/);
    writeFileSync(copy, sealedText({ ...record, counts: null })); // as another machine might have had it, its counts lost
    const judged = capi(['reproduce', copy, '--out', at('again'), '--json']);
    expect(judged.code).toBe(1);
    expect(judged.stdout).toContain('"verdict": "outside"');
  });
});

describe('refusals and looks', () => {
  it.each([
    [
      ['--grid', grid, '--out', whole, '--only', 'predictor=fussed'],
      /--only predictor=fussed: no such arm; did you mean predictor=fused\?/,
    ],
    [['--grid', 'predcitor=fused'], /unknown axis "predcitor"; did you mean "predictor"\?/],
    [
      ['--grid', gridFile('other', TWO_ARMS), '--out', whole],
      /holds the ablation pair: choose another folder with --out/,
    ],
    [
      ['--grid', `${root}benchmarks/ablations/paper/table1i.yaml`, '--out', at('paper')],
      /\/data\/imagenet22k\/train does not exist.*evaluation seg: .*does not exist/,
    ],
    [['--grid', grid, '--evals', 'cls'], /--evals is for inline grids/],
    [['--grid', 'registers=0', '--evals', 'det'], /--evals det: accepted: cls, seg or cls,seg/],
  ])('%j', (args, message) => {
    const run = capi(['ablate', ...args]);
    expect(run.code).toBe(2);
    expect(run.stdout).toBe('');
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trimEnd()).not.toContain('\n');
  });

  it('a damaged record is named, with what to do', () => {
    const out = at('damaged');
    const file = join(out, 'cells', Object.keys(undisturbed)[0]!, 'cell.json');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '{');
    const run = capi(['ablate', '--grid', grid, '--out', out, '--status']);
    expect(run.code).toBe(4);
    expect(run.stderr).toMatch(
      /cell\.json is torn \(.*\): Delete its folder to run the cell again, or restore it/,
    );
    writeFileSync(file, '{\n "schema": 2,'); // as a kill leaves one of ours
    const torn = capi(['ablate', '--grid', grid, '--out', out, '--status']);
    expect(torn.code, torn.stderr).toBe(0);
    expect(torn.stdout).toMatch(/stopped .*cell\.json is torn .*The same command makes it again/);
  });

  it('--dry-run counts evaluations where their data is here, and writes nothing', () => {
    const run = capi([
      'ablate',
      '--grid',
      gridFile('estimate', TWO_ARMS),
      '--out',
      at('estimate'),
      '--dry-run',
    ]);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(
      /4 of 4 cells left; pretraining \d+:\d\d, evaluations at least \d+:\d\d, with \d+ at once/,
    );
    expect(existsSync(at('estimate'))).toBe(false);
  });

  it('--dry-run says what it will take, and that data is not here', () => {
    const run = capi([
      'ablate',
      '--grid',
      `${root}benchmarks/ablations/paper/table1a.yaml`,
      '--dry-run',
      '--json',
    ]);
    expect(run.code, run.stderr).toBe(0);
    const { arms, cells, missing, seconds } = JSON.parse(run.stdout);
    expect(arms).toHaveLength(3);
    expect(cells).toBe(3 * 3 * 2);
    expect(arms[0].parameters).toBeGreaterThan(4e8); // ViT-L with its predictor and 16,384 prototypes
    expect(arms[0].gflop_per_step).toBeGreaterThan(1e6);
    expect(seconds).toBeGreaterThan(1e6);
    expect(JSON.parse(run.stdout).evaluation_seconds).toBeNull(); // their data is not here
    expect(missing.join()).toMatch(/imagenet22k/);
    expect(existsSync(`${root}runs/ablate-table1a`)).toBe(false);
  });
});
