// What `capi bench logreg` does: logistic regression to the same objective beside PyTorch and scikit-learn.
//
// The objective of all is computed by NumPy in float64. A library counts with the loosest tolerance that brings it within SLACK of the
// minimum, as a share; PyTorch with the pass that first gets there.
import { join } from 'node:path';
import { stream } from '../base/random.js';
import { writeSafetensors } from '../base/safetensors.js';
import { EngineError } from '../errors.js';
import { compare, duration, type Entrant } from './compare.js';
import { type Contender, ourCommand, PYTHON_FIX, pythonCommand, type Timed } from './contender.js';
import type { Agreement } from './record.js';
import { type BenchOptions, type BenchResult, runBench } from './run.js';

export interface LogregSetup {
  /** File of `features` and `labels`. */
  work: string;
  C: number;
  classes: number;
}

export interface LogregOptions extends BenchOptions {
  samples?: number | undefined;
  width?: number | undefined;
  classes?: number | undefined;
  c: number;
}

type Fit = Timed & { objective: number; passes: number };

const SLACK = 1e-3;
const TOLERANCES = [1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

export function benchLogreg(options: LogregOptions): Promise<BenchResult> {
  const [samples, width, classes] = options.quick ? [2000, 16, 5] : [100_000, 384, 150];
  const size = {
    samples: options.samples ?? samples!,
    width: options.width ?? width!,
    classes: options.classes ?? classes!,
  };
  return runBench('logreg', options, async (bench) => {
    const work = join(bench.folder, 'work.safetensors');
    await writeWork(work, size);
    const setup: LogregSetup = { work, C: options.c, classes: size.classes };
    const own = await bench.start({ name: 'capi', command: ourCommand('logreg'), setup: { ...setup } });
    const rivals: Contender[] = [];
    for (const library of bench.python ? ['PyTorch', 'scikit-learn'] : []) {
      const command = pythonCommand(bench.python!, 'logistic.py');
      const start = { name: library, command, setup: { ...setup, library }, fix: PYTHON_FIX };
      rivals.push(await bench.start(start));
    }
    const file = join(bench.folder, 'theta.safetensors');
    const fitOwn = async (tolerance: number): Promise<Fit> => {
      const found = await own.ask<Fit>('fit', { tolerance, file });
      const judged = await rivals[0]?.ask<{ objective: number }>('judge', { file });
      return { ...found, ...judged };
    };
    await fitOwn(1e-2); // warms up
    const minimum = (await fitOwn(1e-9)).objective;
    const target = minimum * (1 + SLACK);
    bench.log(`minimum ${minimum.toFixed(3)}`);
    const entrants: Entrant[] = [];
    const agreement: Agreement[] = [];
    for (const contender of [own, ...rivals]) {
      const train = (tolerance: number): Promise<Fit> =>
        contender === own ? fitOwn(tolerance) : contender.ask<Fit>('fit', { tolerance, target });
      const { tolerance, found } = await loosest(contender.name, train, target, bench.log);
      const above = found.objective / minimum - 1;
      const what = 'objective above the minimum, as a share,';
      agreement.push({ with: contender.name, what, value: above, tolerance: SLACK });
      const way =
        contender.name === 'PyTorch' ? 'stopped at the pass that gets there' : `tolerance ${tolerance}`;
      entrants.push({
        name: contender.name,
        contender,
        run: () => train(tolerance),
        note: `${found.passes} passes, ${way}`,
      });
    }
    return [
      await compare({
        work: 'multinomial logistic regression to within 0.1 % of the minimum',
        sizes: { ...size, C: options.c },
        rounds: bench.rounds,
        entrants,
        agreement,
        notes: ['ours is preconditioned; PyTorch and scikit-learn run L-BFGS as they come'],
        log: bench.log,
      }),
    ];
  });
}

/** The loosest tolerance that meets the target. @throws EngineError where none does */
async function loosest(
  name: string,
  train: (tolerance: number) => Promise<Fit>,
  target: number,
  log: (text: string) => void,
): Promise<{ tolerance: number; found: Fit }> {
  for (const tolerance of TOLERANCES) {
    const found = await train(tolerance);
    const share = (found.objective / target) * (1 + SLACK) - 1;
    log(
      `${name} ${tolerance}: ${share.toExponential(1)} above the minimum, ${found.passes} passes, ${duration(found.median_ms)}`,
    );
    if (found.objective <= target * (1 + 1e-7)) return { tolerance, found };
  }
  throw new EngineError(`${name} does not come within a share of ${SLACK} of the minimum at any tolerance`);
}

/** Correlated features of falling variance, as encoders give them, standardised; labels from a noisy linear rule. */
async function writeWork(
  path: string,
  { samples, width, classes }: { samples: number; width: number; classes: number },
): Promise<void> {
  const random = stream(0, 'samples');
  const factors = 64;
  const mix = random.fillNormal(new Float32Array(factors * width));
  const rule = random.fillNormal(new Float32Array(classes * width));
  const hidden = new Float32Array(factors);
  const own = new Float32Array(width);
  const features = new Float32Array(samples * width);
  const labels = new Uint8Array(samples);
  for (let i = 0; i < samples; i++) {
    random.fillNormal(hidden);
    random.fillNormal(own);
    const x = features.subarray(i * width, (i + 1) * width);
    for (let j = 0; j < width; j++) {
      let sum = 0.5 * own[j]!;
      for (let f = 0; f < factors; f++) sum += (hidden[f]! * mix[f * width + j]!) / (1 + f / 4);
      x[j] = sum / 2.2;
    }
    let best = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < classes; k++) {
      let score = 20 * random.next();
      for (let j = 0; j < width; j++) score += 0.5 * rule[k * width + j]! * x[j]!;
      if (score > best) [best, labels[i]] = [score, k];
    }
  }
  const tensors = {
    features: { dtype: 'F32', shape: [samples, width], data: features },
    labels: { dtype: 'U8', shape: [samples], data: labels },
  } as const;
  await writeSafetensors(path, new Map(Object.entries(tensors)));
}
