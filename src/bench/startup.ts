// What `capi bench startup` does: how long a command takes to answer and to reach its first step, beside Python with torch.
import { spawn } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { writeText } from '../base/files/write.js';
import { resolvedYaml } from '../config/index.js';
import { usableCores } from '../cores.js';
import { EngineError } from '../errors.js';
import { resolveEngine } from '../pretrain/prepare.js';
import { compare, type Entrant } from './compare.js';
import {
  type Contender,
  PYTHON_FIX,
  packageRoot,
  pythonCommand,
  startContender,
  type Timed,
} from './contender.js';
import { type BenchOptions, type BenchResult, runBench } from './run.js';
import { benchConfig, type SizeOptions, sizesOf } from './sizes.js';
import { pytorchRecipe, pytorchSize, writeTrainingWork } from './workload.js';

export interface StartupOptions extends BenchOptions, SizeOptions {
  size: string;
}

const capi = [process.execPath, join(packageRoot, 'dist/src/main.js')];

export function benchStartup(options: StartupOptions): Promise<BenchResult> {
  const threads = options.threads ?? usableCores();
  return runBench('startup', options, async (bench) => {
    const asked = benchConfig(options.size, { ...options, overrides: { engine: { threads } } });
    // One step; what the run draws and writes afterwards is not waited for.
    const config = { ...asked, train: { ...asked.train, steps: 1 } };
    const file = join(bench.folder, 'config.yaml');
    await writeText(file, resolvedYaml(config));
    const firstStep = async () => {
      const out = join(await mkdtemp(join(bench.folder, 'run-')), 'run');
      return untilLine([...capi, 'pretrain', file, '--out', out], /"step":1\b/);
    };
    const common = { rounds: bench.rounds, log: bench.log };
    const entrant = (name: string, run: Entrant['run']): Entrant => ({
      name,
      run,
      contender: command(name, threads),
    });
    const answers = [entrant('capi --help', () => untilEnd([...capi, '--help']))];
    const steps = [entrant('capi pretrain', firstStep)];
    if (bench.python) {
      const { python } = bench;
      answers.push(entrant('python -c "import torch"', () => untilEnd([python, '-c', 'import torch'])));
      const work = join(bench.folder, 'work.safetensors');
      const whole = resolveEngine(config, { name: 'onnx', device: 'cpu' });
      await writeTrainingWork(work, whole, 1);
      const setup = {
        ...pytorchSize(whole),
        recipe: pytorchRecipe(whole),
        mode: 'eager',
        work,
        device: 'cpu',
      };
      steps.push(
        entrant('PyTorch eager', () =>
          spent(async () => {
            const command = pythonCommand(python, 'train.py');
            const c = await startContender({
              name: 'PyTorch eager',
              command,
              setup,
              threads,
              fix: PYTHON_FIX,
            });
            await c.ask('run', { count: 1 });
            return () => c.close();
          }),
        ),
      );
    }
    return [
      await compare({
        ...common,
        work: 'from the command to its end',
        sizes: { threads },
        entrants: answers,
      }),
      await compare({
        ...common,
        work: 'from the command to the end of the first training step: loading, tracing or building the model, one step',
        sizes: { ...sizesOf(config), threads },
        entrants: steps,
        notes: ['capi draws its images, PyTorch reads them from a file'],
      }),
    ];
  });
}

/** A command that is started anew each time has no facts to tell. */
function command(name: string, threads: number): Contender {
  const none = () => Promise.reject(new Error(`${name} answers no requests`));
  return {
    name,
    facts: { threads, versions: {} },
    ask: none,
    peakBytes: async () => null,
    close: async () => {},
  };
}

/** Milliseconds until `work` is done; what it returns tidies up after the clock has stopped. */
async function spent(work: () => Promise<(() => Promise<void>) | undefined>): Promise<Timed> {
  const start = performance.now();
  const tidy = await work();
  const ms = Number((performance.now() - start).toFixed(3));
  await tidy?.();
  return { ms: [ms], median_ms: ms, cpu_ms: null };
}

const untilEnd = (command: string[]): Promise<Timed> => untilLine(command, undefined);

/** Runs a command until a line of its stderr matches, or to its end; then waits for its end. @throws EngineError where it fails */
function untilLine([program, ...args]: string[], pattern: RegExp | undefined): Promise<Timed> {
  return spent(async () => {
    const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let last = '';
    const ended = new Promise<void>((resolve, reject) => {
      child.on('error', (error) => reject(new EngineError(`${program} does not start: ${error.message}`)));
      child.on('close', (code) =>
        code === 0
          ? resolve()
          : reject(new EngineError(`${args.join(' ')} ended with code ${code}: ${last}`)),
      );
    });
    ended.catch(() => {}); // told to whoever waits
    const seen = new Promise<void>((resolve) => {
      createInterface({ input: child.stderr! }).on('line', (line) => {
        last = line;
        if (pattern?.test(line)) resolve();
      });
    });
    await (pattern ? Promise.race([seen, ended]) : ended);
    return () => ended;
  });
}
