// Progress of long work: one line that rewrites itself on a terminal, JSON lines where output is piped.
import { shown } from '../base/text.js';

export interface ProgressSink {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** Seconds as 1:02:03 or 2:03. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  const t = Math.max(0, Math.round(seconds));
  const pad = (x: number): string => String(x).padStart(2, '0');
  const [h, m, s] = [Math.floor(t / 3600), Math.floor(t / 60) % 60, t % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/**
 * Shows reports. On a terminal each report rewrites one line (at most ten times a second); piped, one JSON line each
 * `everyMs` and for the last. Messages stand on lines of their own.
 */
export class Progress<T> {
  private shown = Number.NEGATIVE_INFINITY;
  private open = false;

  constructor(
    private readonly sink: ProgressSink,
    private readonly line: (report: T) => string,
    private readonly json: (report: T) => object,
    private readonly everyMs = 10_000,
  ) {}

  report(report: T, last = false): void {
    const now = performance.now();
    if (!last && now - this.shown < (this.sink.isTTY ? 100 : this.everyMs)) return;
    this.shown = now;
    if (this.sink.isTTY) {
      this.sink.write(`\r\x1b[2K${shown(this.line(report)).slice(0, (this.sink.columns ?? 120) - 1)}`);
      this.open = true;
    } else {
      this.sink.write(`${JSON.stringify(this.json(report))}\n`);
    }
  }

  message(text: string): void {
    this.end();
    this.sink.write(this.sink.isTTY ? `${shown(text)}\n` : `${JSON.stringify({ message: text })}\n`);
  }

  end(): void {
    if (this.open) this.sink.write('\n');
    this.open = false;
  }
}
