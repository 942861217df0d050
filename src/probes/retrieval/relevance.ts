// What each query should find in the database, and what is taken out of its ranking: by class, or by the lists of a benchmark.
import { fingerprints, type ImageSource, labelsOf, sameForm } from '../../images/index.js';
import type { EvaluationData } from '../dataset.js';
import { averagePrecision, precisionAt, recallAt, trapezoidPrecision } from './metrics.js';

/** Places in the database. */
export interface Relevant {
  readonly positives: Int32Array;
  /** Taken out of the ranking. */
  readonly junk: Int32Array;
}

/** One way to say what is relevant. */
export interface Relevance {
  /** By convention, of the query at a place. */
  of(query: number): Readonly<Record<string, Relevant>>;
  /** By metric, of the ranks of at least one positive. */
  readonly metrics: Readonly<Record<string, (ranks: Int32Array) => number>>;
}

export const SAME_CLASS = 'same class';

/** The truth that a source has of its queries. */
export type Truth = NonNullable<ImageSource['queries']>['truth'];

/** That of these queries in this database; undefined where classes say what is relevant. */
export const truthOf = (database: ImageSource, { uri }: ImageSource): Truth | undefined =>
  database.queries?.uri === uri ? database.queries.truth : undefined;

/** Lists of a benchmark where the database has them of these queries, else classes. @throws DataError for an image that cannot be read */
export async function relevanceOf(
  database: EvaluationData,
  queries: EvaluationData,
  k: readonly number[],
): Promise<Relevance> {
  const at = (name: string, of: (ranks: Int32Array, k: number) => number) =>
    Object.fromEntries(k.map((k) => [`${name}@${k}`, (ranks: Int32Array) => of(ranks, k)]));
  const truth = truthOf(database.source, queries.source);
  if (truth)
    return {
      of: byLists(database, truth, queries.indices),
      metrics: { map: trapezoidPrecision, ...at('precision', precisionAt) },
    };
  const equal = new Map<string, number[]>();
  for (const [place, digest] of (await digestsOf(database)).entries()) add(equal, digest, place);
  return {
    of: byClass(database, queries, equal, await digestsOf(queries)),
    metrics: { map: averagePrecision, ...at('recall', recallAt) },
  };
}

/** Easy, medium and hard of the revisited Oxford and Paris benchmarks (Radenovic et al., CVPR 2018); images that were not chosen are in no list. */
function byLists({ indices }: EvaluationData, truth: Truth, queries: Int32Array): Relevance['of'] {
  const places = new Map(Array.from(indices, (image, place) => [image, place]));
  const placesOf = (...images: (readonly number[])[]): Int32Array =>
    Int32Array.from(new Set(images.flat().flatMap((image) => places.get(image) ?? [])));
  return (query) => {
    const { easy, hard, junk } = truth[queries[query]!]!;
    return {
      easy: { positives: placesOf(easy), junk: placesOf(junk, hard) },
      medium: { positives: placesOf(easy, hard), junk: placesOf(junk) },
      hard: { positives: placesOf(hard), junk: placesOf(junk, easy) },
    };
  };
}

/** Names of an image's classes, in the form in which sources are compared. */
export const namesOf = ({ source, indices }: EvaluationData, place: number): string[] =>
  labelsOf(source, indices[place]!).map((label) => sameForm(source.classes![label]!));

/**
 * An image that shares a class with the query is relevant; one that equals it in every pixel is the query itself, and junk. So are images
 * without a label, for nobody knows what they show.
 */
function byClass(
  database: EvaluationData,
  queries: EvaluationData,
  equal: ReadonlyMap<string, readonly number[]>,
  digests: readonly string[],
): Relevance['of'] {
  const classes = new Map<string, number[]>();
  const unknown: number[] = [];
  for (let place = 0; place < database.indices.length; place++) {
    const names = namesOf(database, place);
    if (names.length === 0) unknown.push(place);
    for (const name of names) add(classes, name, place);
  }
  return (query) => {
    const own = equal.get(digests[query]!) ?? [];
    const all = new Set(namesOf(queries, query).flatMap((name) => classes.get(name) ?? []));
    for (const place of own) all.delete(place);
    return {
      [SAME_CLASS]: { positives: Int32Array.from(all), junk: Int32Array.from(new Set([...unknown, ...own])) },
    };
  };
}

function add<K>(lists: Map<K, number[]>, key: K, value: number): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

const known = new WeakMap<EvaluationData, Promise<string[]>>();

/** Digests of the pixels of all chosen images, read once for all encoders; both spread them over the source in the same way. */
function digestsOf(data: EvaluationData): Promise<string[]> {
  const { source, indices } = data;
  const digests =
    known.get(data) ?? fingerprints(source, { limit: indices.length }).then(({ digests }) => digests);
  known.set(data, digests);
  return digests;
}
