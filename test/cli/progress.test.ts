// Progress: one line that rewrites itself on a terminal, JSON lines where output is piped.
import { describe, expect, it } from 'vitest';
import { duration, Progress } from '../../src/cli/progress.js';

interface Report {
  step: number;
}

function shown(isTTY: boolean, everyMs: number, act: (progress: Progress<Report>) => void): string {
  let text = '';
  const sink = {
    isTTY,
    columns: 20,
    write(piece: string) {
      text += piece;
    },
  };
  act(
    new Progress<Report>(
      sink,
      ({ step }) => `step ${step} ${'.'.repeat(40)}`,
      (r) => r,
      everyMs,
    ),
  );
  return text;
}

describe('progress', () => {
  it('piped: the first, then one line each interval, and the last; no control characters', () => {
    const text = shown(false, 60_000, (p) => {
      p.message('begin');
      for (let step = 1; step <= 5; step++) p.report({ step }, step === 5);
      p.end();
    });
    expect(text).toBe('{"message":"begin"}\n{"step":1}\n{"step":5}\n');
    expect(shown(false, 0, (p) => [1, 2, 3].map((step) => p.report({ step })))).toBe(
      '{"step":1}\n{"step":2}\n{"step":3}\n',
    );
  });

  it('on a terminal: one line, cut to its width; messages and the end on lines of their own', () => {
    const text = shown(true, 0, (p) => {
      p.report({ step: 1 });
      p.report({ step: 2 }); // too soon after the first
      p.message('halt');
      p.report({ step: 3 }, true);
      p.end();
      p.end();
    });
    expect(text).toBe('\r\x1b[2Kstep 1 ............\nhalt\n\r\x1b[2Kstep 3 ............\n');
  });

  it('writes durations as people do', () => {
    expect([0, 59.6, 3599, 3600, 90_061, Number.NaN].map(duration)).toEqual([
      '0:00',
      '1:00',
      '59:59',
      '1:00:00',
      '25:01:01',
      '-',
    ]);
  });
});
