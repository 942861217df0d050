// The few shapes that the charts are drawn with, as SVG text: axes, ticks, marks that print in grey and that the colour-blind tell apart.
import { escapeHtml } from '../html/escape.js';

/** Okabe and Ito's colours (2008), told apart under every common colour blindness; black first, for the baseline. */
export const COLOURS = [
  '#000000',
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#7A6A00',
];
/** Line patterns, so that a print in grey still tells lines apart. */
export const DASHES = ['', '7 3', '2 3', '9 3 2 3', '5 2', '1 2', '12 4', '4 2 1 2'];
export const FONT = 'Liberation Sans, DejaVu Sans, Arial, sans-serif';

const n = (x: number): string => String(Math.round(x * 100) / 100);

/** A straight scale from values to pixels. */
export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
}

/** About `count` round values that cover [low, high]; the scale ends on the first and last. */
export function linearScale(low: number, high: number, from: number, to: number, count = 5): Scale {
  const [a, b] = low === high ? [low - 0.5, high + 0.5] : [low, high];
  const raw = (b - a) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999)!;
  const first = Math.floor(a / step + 1e-9) * step;
  const last = Math.ceil(b / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round((last - first) / step) + 1 }, (_, i) =>
    Number((first + i * step).toPrecision(12)),
  );
  return Object.assign((value: number): number => from + ((value - first) / (last - first)) * (to - from), {
    ticks,
  });
}

export const line = (x1: number, y1: number, x2: number, y2: number, style = 'stroke="#444"'): string =>
  `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" ${style}/>`;

export const text = (x: number, y: number, words: string, style = ''): string =>
  `<text x="${n(x)}" y="${n(y)}" ${style}>${escapeHtml(words)}</text>`;

export const rectangle = (x: number, y: number, width: number, height: number, style: string): string =>
  `<rect x="${n(x)}" y="${n(y)}" width="${n(Math.max(0, width))}" height="${n(height)}" ${style}/>`;

export const circle = (x: number, y: number, r: number, style: string): string =>
  `<circle cx="${n(x)}" cy="${n(y)}" r="${n(r)}" ${style}/>`;

export const path = (points: readonly (readonly [number, number])[], style: string): string =>
  `<path d="${points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${n(x)} ${n(y)}`).join('')}" fill="none" ${style}/>`;

/** A whole chart: title for those who cannot see it, white ground, one font. */
export function svg(width: number, height: number, title: string, body: readonly string[]): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${n(width)}" height="${n(height)}" viewBox="0 0 ${n(width)} ${n(height)}" role="img" ` +
    `font-family="${FONT}" font-size="12" fill="#111"><title>${escapeHtml(title)}</title>` +
    `<rect width="${n(width)}" height="${n(height)}" fill="#fff"/>${body.join('')}</svg>\n`
  );
}

/** A number on an axis. */
const tickText = (x: number): string => {
  const a = Math.abs(x);
  if (a >= 1e6) return `${Number((x / 1e6).toPrecision(3))} M`;
  if (a >= 1e4) return `${Number((x / 1e3).toPrecision(3))} k`;
  return String(Number(x.toPrecision(6)));
};

/** A frame around values, from (left, top) on: its scales, and its bottom and left axis with their ticks and names. */
export function plot(o: {
  xs: readonly number[];
  ys: readonly number[];
  right: number;
  bottom: number;
  /** Room beside the outermost values. */
  inset?: number;
  xName: string;
  yName: string;
}): { x: Scale; y: Scale; left: number; top: number; body: string[] } {
  const { xs, ys, right, bottom, inset = 0 } = o;
  const [left, top] = [56, 34];
  const x = linearScale(Math.min(...xs), Math.max(...xs), left + inset, right - inset);
  const y = linearScale(Math.min(...ys), Math.max(...ys), bottom, top);
  const body = [
    ...y.ticks.map((t) => line(left, y(t), right, y(t), 'stroke="#ddd"')),
    line(left, bottom, right, bottom),
    line(left, top, left, bottom),
    ...x.ticks.map(
      (t) =>
        line(x(t), bottom, x(t), bottom + 4) + text(x(t), bottom + 17, tickText(t), 'text-anchor="middle"'),
    ),
    ...y.ticks.map((t) => text(left - 6, y(t) + 4, tickText(t), 'text-anchor="end"')),
    text((left + right) / 2, bottom + 34, o.xName, 'text-anchor="middle"'),
    text(left, top - 8, o.yName),
  ];
  return { x, y, left, top, body };
}
