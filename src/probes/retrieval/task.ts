// Image retrieval as a probe task: the training images are the database, the test images the queries, and nothing is learnt.
import { DataError } from '../../errors.js';
import type { EvaluationData } from '../dataset.js';
import { samplesBytes } from '../samples.js';
import { allSets } from '../sets.js';
import { featureSources } from '../sources.js';
import type { CostRequest, ProbeTask, Sets } from '../task.js';
import { inputOf, type RetrievalProtocol, retrievalProtocolSchema } from './protocol.js';
import { namesOf, truthOf } from './relevance.js';
import { retrieve } from './retrieve.js';
import { blocksFor } from './similarities.js';

export const task: ProbeTask<RetrievalProtocol> = {
  settings: retrievalProtocolSchema,
  overlap: 'images that equal a query in every pixel are taken out of its ranking',
  checkSets,
  notes,
  transform: inputOf,
  split: ({ indices }) => ({
    train: indices.map((_, place) => place),
    validation: new Int32Array(0),
    seed: 0,
  }),
  card: (settings, encoder) => ({
    transform:
      settings.transform.shorter_side === null
        ? 'the whole image, its aspect ratio not kept'
        : `shorter side to ${settings.transform.shorter_side} times the input, centre`,
    features: featureSources(encoder, settings.sources).map(({ name }) => name),
    selection:
      'none: nothing is learnt; every training image is ranked by cosine similarity, of equal ones the first',
    metrics: [
      'map, recall@k (same class): relevant is what shares a class; what equals the query in every pixel, or has no label, is taken out; average precision over the whole ranking; recall@k is 1 where any of the first k is relevant',
      'map, precision@k (easy, medium, hard): positives and junk as the benchmark lists them, average precision by trapezoids (Radenovic et al. 2018)',
    ],
  }),
  cost,
  run: retrieve,
  /** Other images to search in are another question. */
  countedBy: ({ train: { identity, images } }) => ({
    'the database': `${images} images, ${identity.slice(0, 12)}`,
  }),
};

/** Throws DataError where nothing says what is relevant. */
function checkSets({ train, tests }: Sets): void {
  for (const { data } of tests) {
    if (truthOf(train.source, data.source)) continue;
    for (const { uri, classes, unlabelled, queries } of [train.source, data.source]) {
      if (classes) continue;
      const why = unlabelled === undefined ? '' : ` (${unlabelled})`;
      throw new DataError(
        queries
          ? `${uri} is a database with queries of its own: search it for ${queries.uri}, and nothing else for those`
          : `${uri} says of no image what is relevant to it${why}: retrieval needs class labels, or a database with queries (revisited:DIR)`,
      );
    }
  }
}

/** What is not ranked, and what is not asked for. */
function notes({ train, tests }: Sets): string[] {
  const found: string[] = [];
  const images = train.indices.length;
  const namesIn = (data: EvaluationData) => Array.from(data.indices, (_, place) => namesOf(data, place));
  const database = train.source.classes ? namesIn(train) : [];
  const without = database.filter((names) => names.length === 0).length;
  if (without > 0)
    found.push(`${without} of ${images} images of the database have no label and are in no ranking`);
  const known = new Set(database.flat());
  for (const { name, data } of tests) {
    if (truthOf(train.source, data.source)) {
      if (images < train.source.length)
        found.push(`lists of ${name} are cut to the ${images} images of the database that were chosen`);
      continue;
    }
    const lost = namesIn(data).filter((names) => !names.some((one) => known.has(one))).length;
    if (lost > 0)
      found.push(
        `${lost} of ${data.indices.length} queries of ${name} have no label, or one that no image of the database has, and are not counted`,
      );
  }
  return found;
}

function cost({ settings, encoder, sets, memory }: CostRequest<RetrievalProtocol>) {
  const sources = featureSources(encoder, settings.sources);
  const database = sets.train.indices.length;
  const images = allSets(sets).reduce((sum, { indices }) => sum + indices.length, 0);
  const queries = images - database;
  const blocks = sources.map(({ width }) => blocksFor(database, queries, width, memory / 2).bytes);
  return {
    // A product, and the search for a place among the positives.
    operations: sources.reduce((sum, { width }) => sum + database * queries * (width + 32), 0),
    bytes: Math.min(memory / 2, samplesBytes(sources, images)) + Math.max(...blocks),
  };
}
