// What `capi bench learned` does and prints.
import { openEngine } from '../engine/select.js';
import { type LearnedResult, whatItLearned } from '../probes/learned.js';

export interface LearnedFlags {
  run: string;
  data?: string;
  train: number;
  test: number;
  weights: string;
  threads?: number;
  quiet: boolean;
}

export async function runLearned(flags: LearnedFlags): Promise<LearnedResult> {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: flags.threads ?? null });
  const result = await whatItLearned({
    engine,
    run: flags.run,
    weights: flags.weights as 'ema' | 'student',
    ...(flags.data ? { source: flags.data } : {}),
    trainImages: flags.train,
    testImages: flags.test,
    onMessage: (text) => {
      if (!flags.quiet) process.stderr.write(`${text}\n`);
    },
  });
  if (!flags.quiet) process.stdout.write(learnedText(result));
  return result;
}

/** The result in four lines. */
export function learnedText(r: LearnedResult): string {
  const percent = (x: number): string => (100 * x).toFixed(1);
  const { difference, ratio } = r.comparison;
  return (
    `mIoU of logistic regression on patch features, ${r.testImages} test images (${r.source})\n` +
    `  trained    ${percent(r.trained.miou)} %   pixel accuracy ${percent(r.trained.accuracy)} %\n` +
    `  untrained  ${percent(r.untrained.miou)} %   pixel accuracy ${percent(r.untrained.accuracy)} %\n` +
    `  difference ${percent(difference.value)} points, 95 % interval [${percent(difference.low)}, ${percent(difference.high)}]; ratio ${ratio.value.toFixed(2)} [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}]\n`
  );
}
