// Tables of evaluations: for a terminal, and as CSV.
import Table from 'cli-table3';
import { csvText } from '../base/csv.js';
import { shown } from '../base/text.js';
import type { RecordFile } from '../probes/check.js';
import type { Comparison, Pairing } from '../probes/compare.js';
import type { Evaluation } from '../probes/evaluate.js';
import type { EvaluationPlan } from '../probes/plan.js';
import { metricOf, TASKS, type TaskName } from '../probes/tasks.js';
import { percent, type ScoreWords, WORDS } from '../report/formats/words.js';
import { recordedInterval } from '../results/bounds.js';
import type { Result } from '../results/record.js';
import { duration } from './progress.js';

/** How scores of a metric are written. */
const wordsOf = (task: TaskName, metric: string): ScoreWords => WORDS[metricOf(task, metric).unit];

/** A score with its interval, where it has one. */
function scoreText(result: Result): string {
  const { score, range } = wordsOf(result.task, result.metric);
  const interval = recordedInterval(result);
  return `${score(result.value)}${interval ? ` ${range(interval.low, interval.high)}` : ''}`;
}

/** A paired difference with its interval. */
function differenceText(task: TaskName, { metric, difference: { value, low, high } }: Comparison): string {
  const { signed, range } = wordsOf(task, metric);
  return `${signed(value)} ${range(low, high, signed)}`.trimEnd();
}

/** Scores by row: everything of a result that is not the encoder's. */
const rowOf = ({
  test,
  source,
  head,
  metric,
  convention,
}: Pick<Result, 'test' | 'source' | 'head' | 'metric' | 'convention'>) =>
  JSON.stringify([test, source, head, metric, convention]);

/** Whether all scores of a task are shares, so that its table is in per cent. */
const allShares = (task: TaskName): boolean =>
  Object.values(TASKS[task].metrics).every(({ unit }) => unit === 'share');

/** A metric with its convention where it has several, and its unit where scores of a table have several. */
function metricName(
  { metric, convention, task }: Pick<Result, 'task' | 'metric' | 'convention'>,
  results: readonly Result[],
): string {
  const unit = !allShares(task) && metricOf(task, metric).unit === 'share' ? ', %' : '';
  const several = results.some((r) => r.metric === metric && r.convention !== convention);
  return several && convention !== '-' ? `${metric}${unit}\n(${convention})` : `${metric}${unit}`;
}

/** Rows of a table: conventions that count the same for every encoder share one. */
function rowsOf(evaluations: readonly Evaluation[], test: string): { row: string; metric: string }[] {
  const seen = new Map<string, { row: string; metric: string }>();
  const done = new Set<string>();
  for (const { record } of evaluations) {
    for (const result of record.results) {
      if (result.test !== test || done.has(rowOf(result))) continue;
      done.add(rowOf(result));
      const values = evaluations.map((e) => {
        const own = e.record.results.find((r) => rowOf(r) === rowOf(result));
        return [own?.value, own?.interval];
      });
      const { source, head, metric } = result;
      const same = `${JSON.stringify([source, head, metric, values])}`;
      const first = [...seen.values()].find((known) => known.row.startsWith(same));
      if (first?.metric.endsWith(')')) first.metric = `${first.metric.slice(0, -1)}, ${result.convention})`;
      else seen.set(rowOf(result), { row: same + rowOf(result), metric: metricName(result, record.results) });
    }
  }
  return [...seen].map(([row, { metric }]) => ({ row, metric }));
}

/**
 * One row a test set, feature source, head and metric; one column an encoder: per cent with its 95 % interval, and below it how far the
 * first encoder is above, with the interval of the paired difference.
 */
export function evaluationTable(evaluations: readonly Evaluation[], pairings: readonly Pairing[]): string {
  const tests = [...new Set(evaluations.flatMap(({ record }) => record.results.map(({ test }) => test)))];
  const { task } = evaluations[0]!.record;
  const { unit } = TASKS[task];
  let text = '';
  for (const test of tests) {
    const table = new Table({
      head: ['head', 'source', 'metric', ...evaluations.map(({ label }) => shown(label))],
      style: { head: [], border: [], compact: true },
    });
    for (const { row, metric } of rowsOf(evaluations, test)) {
      const [, source, head] = JSON.parse(row) as [string, string, string];
      const cells = evaluations.map(({ record }, i) => {
        const result = record.results.find((r) => rowOf(r) === row);
        if (!result) return 'n/a';
        const cell = scoreText(result);
        const paired = i > 0 ? pairings[i - 1]?.scores.find((c) => rowOf(c) === row) : undefined;
        return paired ? `${cell}\nfirst ${differenceText(record.task, paired)}` : cell;
      });
      table.push([head, source, metric, ...cells]);
    }
    const n = evaluations[0]!.record.results.find((r) => r.test === test)?.n;
    const left = evaluations[0]!.record.tests.find(({ source }) => source === test)?.not_counted;
    text += `${shown(test)}: ${n} ${unit}${allShares(task) ? ', %' : ''}${left ? `; ${percent(left)} % of their pixels count for no score` : ''}\n${table.toString()}\n`;
  }
  const { protocol } = evaluations[0]!.record;
  text += `protocol   ${shown(protocol.name)} (${protocol.hash.slice(0, 12)}); [..] 95 % intervals by bootstrap over ${unit}`;
  const paired = pairings.some(({ scores }) => scores.length > 0);
  text += paired ? '; "first": the first encoder minus this one, paired\n' : '\n';
  for (const [i, { unpaired: why }] of pairings.entries()) {
    if (why === undefined) continue;
    text += `unpaired   ${shown(`${evaluations[i + 1]!.label}: no paired differences, for ${why}`)}\n`;
  }
  for (const { label, file, fresh, record } of evaluations) {
    text += `record     ${shown(file)} (${shown(label)}${fresh ? '' : ', was there; --force evaluates again'})\n`;
    for (const note of record.notes) text += `note       ${shown(`${label}: ${note}`)}\n`;
  }
  for (const [i, { source }] of evaluations[0]!.record.tests.entries()) {
    const reads = Math.max(...evaluations.map(({ record }) => record.tests[i]!.reads));
    text += `test reads ${reads} of ${shown(source)} so far, by all encoders of this folder\n`;
  }
  return text;
}

/** Two records side by side, with the paired difference and what it says. */
export function comparisonTable(a: RecordFile, b: RecordFile, comparisons: readonly Comparison[]): string {
  const { task } = a.record;
  const table = new Table({
    head: ['test', 'head', 'source', 'metric', 'a', 'b', 'a - b [95 %]', 'differ'],
    style: { head: [], border: [], compact: true },
  });
  for (const c of comparisons) {
    const { low, high } = c.difference;
    const { score } = wordsOf(task, c.metric);
    const known = Number.isFinite(low) && Number.isFinite(high);
    const says = !known ? 'not known' : c.better ? `${c.better} is better` : 'not shown';
    table.push([
      shown(c.test),
      c.head,
      c.source,
      metricName({ ...c, task }, a.record.results).replace('\n', ' '),
      score(c.a),
      score(c.b),
      differenceText(task, c),
      says,
    ]);
  }
  const line = (name: string, { record, file }: RecordFile): string =>
    `${name}          ${shown(`${record.encoder.name} (${file})`)}\n`;
  return `${line('a', a)}${line('b', b)}${table.toString()}`;
}

/** What --json prints of evaluations. */
export function evaluationJson(evaluations: readonly Evaluation[], pairings: readonly Pairing[]): object {
  const first = evaluations[0]!;
  return {
    results: evaluations.flatMap(({ label, record }) =>
      record.results.map((r) => ({ encoder: label, ...r })),
    ),
    protocol: { name: first.record.protocol.name, hash: first.record.protocol.hash },
    record: first.file,
    records: evaluations.map(({ label, floor, file, fresh, record }) => ({
      encoder: label,
      floor,
      record: file,
      new: fresh,
      protocol: record.protocol.hash,
      notes: record.notes,
    })),
    comparisons: pairings.map((pairing, i) => ({
      a: first.label,
      b: evaluations[i + 1]!.label,
      ...pairing,
    })),
  };
}

/** One line a result; shares, not per cent. */
export function evaluationCsv(evaluations: readonly Evaluation[], pairings: readonly Pairing[]): string {
  const rows = evaluations.flatMap(({ label, file, record }, i) =>
    record.results.map((result) => {
      const paired = pairings[i - 1]?.scores.find((c) => rowOf(c) === rowOf(result));
      return {
        encoder: label,
        task: result.task,
        test: result.test,
        source: result.source,
        head: result.head,
        metric: result.metric,
        convention: result.convention,
        value: result.value,
        low: recordedInterval(result)?.low,
        high: recordedInterval(result)?.high,
        n: result.n,
        selected: result.selected ? JSON.stringify(result.selected) : '',
        first_minus_this: paired?.difference.value,
        first_minus_this_low: paired?.difference.low,
        first_minus_this_high: paired?.difference.high,
        unpaired: pairings[i - 1]?.unpaired ?? '',
        protocol: record.protocol.hash,
        record: file,
      };
    }),
  );
  return csvText(rows);
}

const size = (bytes: number): string =>
  bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;

/** What a dry run prints. */
export function planText(plan: EvaluationPlan): string {
  const table = new Table({
    head: ['encoder', 'images', 'stored', 'vectors', 'width', 'disk', 'memory', 'time, about'],
    style: { head: [], border: [], compact: true },
  });
  for (const e of plan.encoders) {
    table.push([
      shown(e.label),
      e.images,
      e.stored,
      e.vectors,
      e.width,
      size(e.diskBytes),
      size(e.memoryBytes),
      duration(e.seconds),
    ]);
  }
  return (
    `${table.toString()}\ndisk       features in ${plan.store}; those of the images counted as stored are there already\n` +
    `memory     what features and heads take at their peak, beside some 300 MB of the program\n` +
    `time       of features: measured on one batch; of heads: operations over ${plan.gflops.toFixed(0)} GFLOP/s measured, within a factor of about 3\n`
  );
}
