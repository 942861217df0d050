// The charts of a report: scores with intervals, curves of training, scores along an axis that is a number, scores against cost.
import { hashOf } from '../../base/hash.js';
import type { CellRecord } from '../../results/cell.js';
import { type Caveat, cellWords } from '../ablation/caveats.js';
import type { Column } from '../ablation/scores.js';
import { armLabel, type ColumnTable, type Entry, type Group, type Report } from '../ablation/tables.js';
import { stateText } from '../formats/words.js';
import { mean } from '../statistics/differences.js';
import { COLOURS, circle, DASHES, line, linearScale, path, plot, rectangle, svg, text } from './svg.js';

export interface Chart {
  /** File name without its ending. */
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

/** All charts that the records have the numbers for. */
export function chartsOf(report: Report): Chart[] {
  const found: (Chart | undefined)[] = [];
  for (const table of report.headline) {
    found.push(bars(report, table), cost(report, table));
    for (const group of report.groups) found.push(along(report, table, group));
  }
  for (const group of report.groups) {
    found.push(curves(report, group, 'capi_loss', 'loss', 'student loss'));
    found.push(curves(report, group, 'target_entropy', 'entropy', 'entropy of the targets (nats)'));
  }
  return distinct(found.filter((chart) => chart !== undefined));
}

/** Charts whose files all have names of their own, whatever the case of letters counts for, and none too long: a digest tells them apart. */
function distinct(charts: readonly Chart[]): Chart[] {
  const count = (name: string): number => charts.filter((chart) => chart.name === name).length;
  return charts.map((chart, i) => {
    const { name, title } = chart;
    if (name.length <= MOST_LETTERS && count(name) === 1) return chart;
    return { ...chart, name: `${name.slice(0, MOST_LETTERS)}-${hashOf([title, i]).slice(0, 8)}` };
  });
}

const MOST_LETTERS = 80;

/** A name with what must be said of its number, the name cut where both would be too long. */
function marked(name: string, caveats: readonly Caveat[], letters: number): string {
  const words = cellWords(caveats);
  const room = Math.max(8, letters - words.length);
  return (name.length > room ? `${name.slice(0, room - 1)}\u2026` : name) + words;
}

const fileName = (...words: string[]): string =>
  words
    .join('-')
    .replaceAll(/[^a-z0-9.]+/gi, '-')
    .toLowerCase();
const GREY = '#b9c7d6';

/** A score on an axis: shares in per cent. */
const axisOf = ({ label, unit }: Column): { times: number; name: string } =>
  unit === 'share' ? { times: 100, name: `${label}, %` } : { times: 1, name: label };

/** Means as bars, seeds as dots, and the interval of the difference to the baseline around the mean: it excludes the line where that differs. */
function bars({ study, groups }: Report, { column, entries }: ColumnTable): Chart | undefined {
  const base = entries[study.plan.baseline]!.mean;
  if (base === undefined) return undefined;
  const [left, right, step] = [210, 700, 22];
  const { times, name: title } = axisOf(column);
  const rows: { label: string; arm: number | undefined }[] = [];
  for (const group of groups) {
    rows.push({ label: group.title, arm: undefined });
    for (const arm of group.arms) rows.push({ label: armLabel(study, arm, group), arm });
  }
  const values = entries.flatMap((e) => [
    e.mean ?? 0,
    ...(e.difference && Number.isFinite(e.difference.high) ? [base + e.difference.high] : []),
  ]);
  const x = linearScale(0, times * Math.max(...values), left, right);
  const top = 34;
  const bottom = top + rows.length * step;
  const body = [
    text(left, 18, title, 'font-weight="bold"'),
    ...x.ticks.map(
      (t) =>
        line(x(t), top, x(t), bottom, 'stroke="#e4e4e4"') +
        text(x(t), bottom + 16, `${t}`, 'text-anchor="middle"'),
    ),
  ];
  for (const [i, { label, arm }] of rows.entries()) {
    const y = top + i * step + step / 2;
    if (arm === undefined) {
      body.push(text(12, y + 5, marked(label, [], 90), 'font-weight="bold"'));
      continue;
    }
    const e = entries[arm]!;
    const isBase = arm === study.plan.baseline;
    const name = marked(isBase ? `${label} (baseline)` : label, e.mean === undefined ? [] : e.caveats, 34);
    body.push(text(left - 8, y + 4, name, 'text-anchor="end"'));
    if (e.mean === undefined) {
      body.push(text(left + 6, y + 4, stateText(e.seeds.map(({ state }) => state)), 'fill="#555"'));
      continue;
    }
    body.push(rectangle(left, y - 7, x(times * e.mean) - left, 14, `fill="${isBase ? '#7f8c99' : GREY}"`));
    for (const { value } of e.seeds) {
      if (value !== undefined) body.push(circle(x(times * value), y, 2.6, 'fill="#fff" stroke="#222"'));
    }
    const d = e.difference;
    if (d && Number.isFinite(d.low)) {
      const [a, b] = [Math.max(left, x(times * (base + d.low))), x(times * (base + d.high))];
      body.push(
        line(a, y, b, y, 'stroke="#000" stroke-width="1.6"'),
        line(a, y - 4, a, y + 4, 'stroke="#000"'),
        line(b, y - 4, b, y + 4, 'stroke="#000"'),
      );
    }
  }
  body.push(line(x(times * base), top, x(times * base), bottom, 'stroke="#D55E00" stroke-dasharray="4 3"'));
  body.push(
    text(
      left,
      bottom + 34,
      'Bar: mean over seeds (circles). Black: 95 % interval of the difference to the baseline (dashed).',
      'font-size="11" fill="#444"',
    ),
  );
  return {
    name: fileName('scores', column.key),
    title: column.label,
    svg: svg(720, bottom + 46, `${column.label} by arm`, body),
  };
}

/** Records of one run an arm and seed. */
function runsOf({ study }: Report, arm: number): CellRecord[] {
  const found = new Map<string, CellRecord>();
  for (const { arm: of, record } of study.cells) if (of === arm && record) found.set(record.run.id, record);
  return [...found.values()];
}

/** Whether a value can be drawn. */
const usable = (x: number | null | undefined): x is number => typeof x === 'number' && Math.abs(x) < 1e30;

/** What must be said of a curve: the number of its seeds where some are missing, and how they ended. */
function runCaveats(runs: readonly CellRecord[], planned: number): Caveat[] {
  const seeds = runs.length === planned && planned > 1 ? [] : [`(${runs.length})`];
  const ends = new Set(runs.map(({ run }) => run.state).filter((state) => state !== 'done'));
  return [
    ...seeds.map((word) => ({ kind: 'seeds', text: word, word }) as const),
    ...[...ends].map((state) => ({ kind: 'collapsed', text: state, word: state }) as const),
  ];
}

/** A figure of training over the images seen, mean over the seeds of each arm. */
function curves(report: Report, group: Group, key: string, short: string, name: string): Chart | undefined {
  const { study } = report;
  const lines = group.arms.flatMap((arm) => {
    const runs = runsOf(report, arm).filter(
      ({ run }) => run.step > 0 && run.curve.some((point) => usable(point[key])),
    );
    if (runs.length === 0) return [];
    const points = runs[0]!.run.curve.flatMap((point, i): [number, number][] => {
      const values = runs.map(({ run }) => run.curve[i]?.[key]).filter(usable);
      const images = (point.step! * runs[0]!.run.images) / runs[0]!.run.step;
      return values.length > 0 ? [[images, mean(values)]] : [];
    });
    return [
      { label: marked(armLabel(study, arm, group), runCaveats(runs, study.plan.seeds.length), 24), points },
    ];
  });
  if (lines.length === 0 || lines.every(({ points }) => points.length < 2)) return undefined;
  const all = lines.flatMap(({ points }) => points);
  const title = `${name}, by ${group.title}`;
  const [right, bottom] = [500, 300];
  const { x, y, top, body } = plot({
    xs: [0, ...all.map(([images]) => images)],
    ys: all.map(([, value]) => value),
    ...{ right, bottom, xName: 'training images', yName: title },
  });
  for (const [i, { label, points }] of lines.entries()) {
    const style = `stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.8" stroke-dasharray="${DASHES[i % DASHES.length]}"`;
    const places = points.map(([a, b]) => [x(a), y(b)] as const);
    body.push(
      path(places, style),
      line(right + 14, top + 12 + 20 * i, right + 44, top + 12 + 20 * i, style),
      text(right + 50, top + 16 + 20 * i, label),
    );
  }
  return { name: fileName(short, group.title), title, svg: svg(680, bottom + 46, title, body) };
}

/** A score along an axis whose values are numbers, with the intervals of the differences around the means. */
function along({ study }: Report, { column, entries }: ColumnTable, group: Group): Chart | undefined {
  const points = group.arms
    .map((arm) => ({ value: Number(armLabel(study, arm, group)), entry: entries[arm]! }))
    .filter(({ value, entry }) => Number.isFinite(value) && entry.mean !== undefined)
    .sort((a, b) => a.value - b.value);
  const base = entries[study.plan.baseline]!.mean;
  if (points.length < 2 || points.length < group.arms.length || base === undefined) return undefined;
  const { times, name: yName } = axisOf(column);
  const ends = ({ difference: d }: Entry): number[] =>
    d && Number.isFinite(d.low) ? [times * (base + d.low), times * (base + d.high)] : [];
  const bottom = 280;
  const { x, y, left, body } = plot({
    xs: points.map(({ value }) => value),
    ys: points.flatMap(({ entry }) => [times * entry.mean!, ...ends(entry)]),
    ...{ right: 440, bottom, inset: 14, xName: group.title, yName },
  });
  const places = points.map(({ value, entry }) => [x(value), y(times * entry.mean!)] as const);
  body.push(path(places, `stroke="${COLOURS[1]}" stroke-width="1.8"`));
  const said = points.flatMap(({ value, entry }) => {
    const words = cellWords(entry.caveats);
    return words === '' ? [] : [`${value}:${words}`];
  });
  if (said.length > 0)
    body.push(text(left, bottom + 52, marked(said.join('; '), [], 80), 'font-size="11" fill="#444"'));
  for (const { value, entry } of points) {
    const [low, high] = ends(entry);
    if (low !== undefined && high !== undefined)
      body.push(line(x(value), y(low), x(value), y(high), 'stroke="#000" stroke-width="1.4"'));
    const colour = entry.difference ? COLOURS[1] : COLOURS[0];
    const fill = cellWords(entry.caveats) === '' ? `fill="${colour}"` : `fill="#fff" stroke="${colour}"`;
    body.push(circle(x(value), y(times * entry.mean!), 4, fill));
  }
  const title = `${column.label} by ${group.title}`;
  return {
    name: fileName('axis', column.key, group.title),
    title,
    svg: svg(470, bottom + (said.length > 0 ? 62 : 46), title, body),
  };
}

/** Score against the floating-point operations of training. */
function cost(report: Report, { column, entries }: ColumnTable): Chart | undefined {
  const { study } = report;
  const { times, name: yName } = axisOf(column);
  const points = study.plan.arms.flatMap(({ name }, arm) => {
    const run = runsOf(report, arm)[0]?.run;
    const { mean, caveats } = entries[arm]!;
    if (!run || mean === undefined) return [];
    const label = marked(name, caveats, 40);
    return [{ name: label, arm, flop: run.flop_per_step * run.step, score: times * mean }];
  });
  if (points.length < 2 || !points.every(({ flop }) => flop > 0 && flop < 1e30)) return undefined;
  const power = Math.floor(Math.log10(Math.max(...points.map(({ flop }) => flop))) / 3) * 3;
  const [right, bottom] = [640, 380];
  const { x, y, left, body } = plot({
    xs: points.map(({ flop }) => flop / 10 ** power),
    ys: points.map(({ score }) => score),
    ...{ right, bottom, xName: `floating-point operations of training, 10^${power}`, yName },
  });
  const dots = points.map((p) => ({ ...p, x: x(p.flop / 10 ** power), y: y(p.score) }));
  const isBase = ({ arm }: { arm: number }): boolean => arm === study.plan.baseline;
  body.push(...labels(dots, left, right + 36, bottom));
  for (const dot of [...dots].sort((a, b) => Number(isBase(a)) - Number(isBase(b))))
    body.push(circle(dot.x, dot.y, isBase(dot) ? 5 : 4, `fill="${isBase(dot) ? COLOURS[0] : COLOURS[1]}"`));
  const title = `${column.label} against the cost of training`;
  return { name: fileName('cost', column.key), title, svg: svg(680, bottom + 46, title, body) };
}

interface Dot {
  name: string;
  x: number;
  y: number;
}

/** The dots' names beside them where there is room, else as near as there is, at the end of a thin line. */
function labels(dots: readonly Dot[], left: number, right: number, bottom: number): string[] {
  const [height, perLetter, gap] = [12, 5.4, 8];
  const steps = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? i / 2 : -(i + 1) / 2) * (height / 2)); // down and up in turn, ever further
  const taken = dots.map((d) => ({ x1: d.x - 5, x2: d.x + 5, y1: d.y - 5, y2: d.y + 5 }));
  return [...dots]
    .sort((a, b) => a.y - b.y)
    .flatMap((dot) => {
      const width = dot.name.length * perLetter;
      const places = steps.flatMap((down) =>
        [1, -1].map((side) => {
          const from = dot.x + side * (down === 0 ? gap : 2 * gap);
          const [x1, x2] = side > 0 ? [from, from + width] : [from - width, from];
          return {
            down,
            side,
            from,
            box: { x1, x2, y1: dot.y + down - height / 2, y2: dot.y + down + height / 2 },
          };
        }),
      );
      const free = places.find(
        ({ box }) =>
          box.x1 > left &&
          box.x2 < right &&
          box.y2 < bottom &&
          !taken.some((t) => t.x1 < box.x2 && t.x2 > box.x1 && t.y1 < box.y2 && t.y2 > box.y1),
      );
      const { down, side, from, box } = free ?? places[0]!;
      taken.push(box);
      const anchor = side < 0 ? ' text-anchor="end"' : '';
      const name = text(from, dot.y + down + 4, dot.name, `font-size="10.5"${anchor}`);
      if (down === 0) return [name];
      return [line(dot.x, dot.y, from - side * 2, dot.y + down, 'stroke="#999" stroke-width="0.7"'), name];
    });
}
