// Progress of work that goes through stages, each with an estimate of its end.
import { duration, Progress } from './progress.js';

interface Stage {
  /** The encoder that it is done to, where there are several. */
  readonly of?: string;
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** NaN where nobody knows. */
  readonly left: number;
}

export interface StageProgress {
  /** Under the name `of`; the seconds left are worked out from the stage's own pace. */
  stage(of: string, stage: string, done: number, total: number): void;
  /** Of one thing, with the seconds left as the work itself knows them. */
  known(stage: string, done: number, total: number, secondsLeft: number): void;
  message(text: string): void;
  end(): void;
}

/** One line on a terminal; where output is piped a JSON line now and then; nothing when quiet. */
export function stageProgress(quiet: boolean): StageProgress {
  const progress = new Progress<Stage>(
    process.stderr,
    ({ of, stage, done, total, left }) =>
      `${of === undefined ? '' : `${of}: `}${stage}${total > 1 ? ` ${done}/${total}` : ''}${total > 1 && Number.isFinite(left) ? ` ETA ${duration(left)}` : ''}`,
    ({ of, left, ...report }) => ({
      ...(of === undefined ? {} : { encoder: of }),
      ...report,
      eta_seconds: Number.isFinite(left) ? Math.round(left) : null,
    }),
  );
  let current = { name: '', begin: 0, from: 0 };
  return {
    stage(of, stage, done, total) {
      const name = `${of} ${stage}`;
      const now = performance.now();
      if (name !== current.name) current = { name, begin: now, from: done };
      const each = (now - current.begin) / 1000 / Math.max(1, done - current.from);
      if (!quiet) progress.report({ of, stage, done, total, left: each * (total - done) });
    },
    known(stage, done, total, left) {
      if (!quiet) progress.report({ stage, done, total, left });
    },
    message(text) {
      if (!quiet) progress.message(text);
    },
    end: () => progress.end(),
  };
}
