// Tables of evaluations: for a terminal, and as CSV.
import Table from 'cli-table3';
import { csvText } from '../base/csv.js';
import { shown } from '../base/text.js';
import type { RecordFile } from '../probes/check.js';
import type { Comparison } from '../probes/compare.js';
import type { Evaluation } from '../probes/evaluate.js';
import type { EvaluationPlan } from '../probes/plan.js';
import { percent, rangeText, signed } from '../report/formats/words.js';
import { recordedInterval } from '../results/bounds.js';
import type { Result } from '../results/record.js';
import { duration } from './progress.js';

/** A score in per cent with its interval, where it has one. */
function scoreText(result: Result): string {
  const interval = recordedInterval(result);
  return `${percent(result.value)}${interval ? ` ${rangeText(interval.low, interval.high)}` : ''}`;
}

/** A paired difference with its interval, in per cent. */
const differenceText = ({ difference: { value, low, high } }: Comparison): string =>
  `${signed(value)} ${rangeText(low, high, signed)}`.trimEnd();

/** Scores by row: everything of a result that is not the encoder's. */
const rowOf = ({
  test,
  source,
  head,
  metric,
  convention,
}: Pick<Result, 'test' | 'source' | 'head' | 'metric' | 'convention'>) =>
  JSON.stringify([test, source, head, metric, convention]);

const metricName = ({ metric, convention }: Pick<Result, 'metric' | 'convention'>): string =>
  convention === '-' || convention === 'any label' ? metric : `${metric}\n(${convention})`;

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
      if (first && result.convention !== '-')
        first.metric = `${first.metric.slice(0, -1)}, ${result.convention})`;
      else seen.set(rowOf(result), { row: same + rowOf(result), metric: metricName(result) });
    }
  }
  return [...seen].map(([row, { metric }]) => ({ row, metric }));
}

/**
 * One row a test set, feature source, head and metric; one column an encoder: per cent with its 95 % interval, and below it how far the
 * first encoder is above, with the interval of the paired difference. `unpaired` says of each encoder but the first why it has none.
 */
export function evaluationTable(
  evaluations: readonly Evaluation[],
  comparisons: readonly (readonly Comparison[])[],
  unpaired: readonly (string | undefined)[] = [],
): string {
  const tests = [...new Set(evaluations.flatMap(({ record }) => record.results.map(({ test }) => test)))];
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
        const paired = i > 0 ? comparisons[i - 1]?.find((c) => rowOf(c) === row) : undefined;
        return paired ? `${cell}\nfirst ${differenceText(paired)}` : cell;
      });
      table.push([head, source, metric, ...cells]);
    }
    const n = evaluations[0]!.record.results.find((r) => r.test === test)?.n;
    const left = evaluations[0]!.record.tests.find(({ source }) => source === test)?.not_counted;
    text += `${shown(test)}: ${n} test images, %${left ? `; ${percent(left)} % of their pixels count for no score` : ''}\n${table.toString()}\n`;
  }
  const { protocol } = evaluations[0]!.record;
  text += `protocol   ${shown(protocol.name)} (${protocol.hash.slice(0, 12)}); [..] 95 % intervals by bootstrap over test images`;
  const paired = comparisons.some((list) => list.length > 0);
  text += paired ? '; "first": the first encoder minus this one, paired\n' : '\n';
  for (const [i, why] of unpaired.entries()) {
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
  const table = new Table({
    head: ['test', 'head', 'source', 'metric', 'a', 'b', 'a - b [95 %]', 'differ'],
    style: { head: [], border: [], compact: true },
  });
  for (const c of comparisons) {
    const { low, high } = c.difference;
    const known = Number.isFinite(low) && Number.isFinite(high);
    const says = !known ? 'not known' : c.better ? `${c.better} is better` : 'not shown';
    table.push([
      shown(c.test),
      c.head,
      c.source,
      metricName(c).replace('\n', ' '),
      percent(c.a),
      percent(c.b),
      differenceText(c),
      says,
    ]);
  }
  const line = (name: string, { record, file }: RecordFile): string =>
    `${name}          ${shown(`${record.encoder.name} (${file})`)}\n`;
  return `${line('a', a)}${line('b', b)}${table.toString()}`;
}

/** One line a result; shares, not per cent. */
export function evaluationCsv(
  evaluations: readonly Evaluation[],
  comparisons: readonly (readonly Comparison[])[],
  unpaired: readonly (string | undefined)[] = [],
): string {
  const rows = evaluations.flatMap(({ label, file, record }, i) =>
    record.results.map((result) => {
      const paired = comparisons[i - 1]?.find((c) => rowOf(c) === rowOf(result));
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
        unpaired: unpaired[i - 1] ?? '',
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
