// Image retrieval on one frozen encoder: every query's ranking of the database under cosine similarity, and the scores of it.
import { InterruptedError } from '../../errors.js';
import type { VectorSource } from '../../solvers/neighbours.js';
import { type EvaluationData, featuresOf, type SetFeatures } from '../dataset.js';
import { addScores, type Entries, noEntries } from '../entries.js';
import { openSamples, type Samples } from '../samples.js';
import { type FeatureSource, featureSources } from '../sources.js';
import type { ProbeRequest } from '../task.js';
import { ranksOf } from './metrics.js';
import { inputOf, type RetrievalProtocol } from './protocol.js';
import { type Relevance, relevanceOf } from './relevance.js';
import { similarities } from './similarities.js';

type RetrieveRequest = ProbeRequest<RetrievalProtocol>;

/** Images whose features are read at a time. */
const BLOCK = 256;

/**
 * Ranks the training images, all of them, for every test image. Nothing is learnt or chosen.
 * @throws DataError for an image that cannot be read, InterruptedError when the signal stops it; the same request goes on
 */
export async function retrieve(request: RetrieveRequest): Promise<Entries> {
  const { encoder, protocol, train, tests, store, memory, watch } = request;
  const sources = featureSources(encoder, protocol.sources);
  const entries = noEntries(train.source.classes ?? []);
  const opened: SetFeatures[] = [];
  const open = async (data: EvaluationData, part: string): Promise<Samples> => {
    const features = await featuresOf(encoder, data, inputOf(protocol), store, {
      ...watch,
      onProgress: (done, total) => watch?.onStage?.(`features of ${part}`, done, total),
    });
    opened.push(features);
    return openSamples(encoder, features, sources, memory / 2 / (1 + tests.length));
  };
  try {
    const database = await open(train, 'the database');
    for (const [place, test] of tests.entries()) {
      const { name, data } = test;
      await test.reading();
      const queries = await open(data, name);
      const relevance = await relevanceOf(train, data, protocol.k);
      for (const source of sources) {
        const { samples, values } = await scoredQueries(request, name, source, database, queries, relevance);
        const scores = Object.keys(values).map((key) => {
          const [metric, ...convention] = key.split(' ');
          return { metric: metric!, convention: convention.join(' ') };
        });
        const head = { source: source.name, head: 'cosine', selected: null };
        const of = { place, test: data.source.uri };
        addScores(entries, 'retrieval', head, of, { samples, values }, scores);
      }
    }
    return entries;
  } finally {
    for (const features of opened) await features.close();
  }
}

/** Values of every query that has something to find, by metric and convention; NaN under the conventions by which it has not. */
async function scoredQueries(
  { engine, memory, watch }: RetrieveRequest,
  name: string,
  source: FeatureSource,
  database: Samples,
  queries: Samples,
  { of, metrics }: Relevance,
): Promise<{ samples: number[]; values: Record<string, number[]> }> {
  const samples: number[] = [];
  const values: Record<string, number[]> = {};
  await similarities({
    engine,
    width: source.width,
    database: vectorsOf(database, source.name),
    queries: vectorsOf(queries, source.name),
    memory: memory / 2,
    visit(query, row) {
      if (watch?.signal?.aborted)
        throw new InterruptedError(
          `interrupted after ${query} rankings of ${name}; the same command goes on`,
        );
      const relevant = Object.entries(of(query));
      if (relevant.some(([, { positives }]) => positives.length > 0)) {
        samples.push(query);
        for (const [convention, { positives, junk }] of relevant) {
          const ranks = ranksOf(row, positives, junk);
          for (const [metric, value] of Object.entries(metrics)) {
            const key = `${metric} ${convention}`;
            values[key] ??= [];
            values[key].push(positives.length > 0 ? value(ranks) : Number.NaN);
          }
        }
      }
      watch?.onStage?.(`ranking by ${source.name}: ${name}`, query + 1, queries.count);
    },
  });
  return { samples, values };
}

/** One source's vectors, read image by image only a few at a time: where they are not held, patches are read for them. */
const vectorsOf = (samples: Samples, source: string): VectorSource => ({
  count: samples.count,
  async read(first, count) {
    const blocks: Float32Array[] = [];
    for (let at = 0; at < count; at += BLOCK)
      blocks.push((await samples.range(first + at, Math.min(BLOCK, count - at)))[source]!);
    const out = new Float32Array(blocks.reduce((sum, { length }) => sum + length, 0));
    let to = 0;
    for (const block of blocks) {
      out.set(block, to);
      to += block.length;
    }
    return out;
  },
});
