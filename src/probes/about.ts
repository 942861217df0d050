// What everyone may know of a probe task without loading it: plain data.

/** How scores of one name are shown and which way they are better. */
export interface Metric {
  /** As a table has it. */
  readonly title: string;
  /** `share`: in [0, 1], shown in per cent; `number`: shown as it is. */
  readonly unit: 'share' | 'number';
  readonly better: 'higher' | 'lower';
}

/** Everything of a score that is not its test set. */
export interface ScoreKind {
  /** Feature source: global, patches, ... */
  readonly source: string;
  readonly head: string;
  readonly metric: string;
  /** How the metric counts: official, nanskip, easy, ...; `-` where there is but one way. */
  readonly convention: string;
}

export interface TaskAbout {
  /** What is measured, as a sentence has it. */
  readonly title: string;
  /** Its key in protocol files. */
  readonly section: string;
  /** What scores and intervals are taken over, several of them: test images, queries. */
  readonly unit: string;
  readonly metrics: Readonly<Record<string, Metric>>;
  /** Conventions that a table need not name: the usual ones. */
  readonly usual: readonly string[];
  /** Heads whose names tables spell otherwise. */
  readonly heads: Readonly<Record<string, string>>;
  /** Heads that are bounds of what a head can reach: neither compared nor counted. */
  readonly bounds: readonly string[];
  /** What tables show first, the most wanted first. */
  readonly headlines: readonly ScoreKind[];
}
