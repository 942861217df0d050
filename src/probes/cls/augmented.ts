// Batches of new crops through the frozen encoder: the official way, with the backbone in the loop.

import { stream } from '../../base/random.js';
import { finiteFeatures } from '../../encoder/finite.js';
import { randomResizedCrop } from '../../images/index.js';
import { type FeatureSource, type SourceFeatures, sourceFeatures } from '../sources.js';
import { sampler } from '../split.js';
import type { ProbeRequest } from '../task.js';
import type { TrainingBatches } from './batches.js';
import type { ClassificationProtocol } from './protocol.js';

/**
 * Random resized crops and flips of the training images (protocol "Image classification"), keyed by (seed, step, position). The
 * crops of the next step are made while the engine works on this one.
 */
export function augmentedBatches(
  { encoder, protocol, train, split, seed }: ProbeRequest<ClassificationProtocol>,
  sources: readonly FeatureSource[],
  label: (place: number) => number,
): TrainingBatches {
  const draw = sampler(split.train.length, protocol.batch, seed);
  const { height, width } = encoder.size;
  const area = height * width * 3;
  const { crop_scale, crop_ratio, flip } = protocol.transform;
  const options = { height, width, cropScale: crop_scale, cropRatio: crop_ratio, flip };
  const nameOf = (step: number, position: number): string => {
    const image = train.indices[split.train[draw(step)[position]!]!]!;
    return `${train.source.name(image)} (its crop of step ${step})`;
  };
  const pixels = async (step: number): Promise<Uint8Array> => {
    const out = new Uint8Array(protocol.batch * area);
    const chosen = draw(step);
    await Promise.all(
      Array.from(chosen, async (at, position) => {
        const image = await train.source.read(train.indices[split.train[at]!]!);
        const random = stream(seed, 'probe crop', step, position);
        out.set(randomResizedCrop(image, options, random).data, position * area);
      }),
    );
    return out;
  };
  let ahead: { step: number; pixels: Promise<Uint8Array> } | undefined;
  return async (step) => {
    const images = await (ahead?.step === step ? ahead.pixels : pixels(step));
    const next = step + 1 < protocol.steps ? { step: step + 1, pixels: pixels(step + 1) } : undefined;
    next?.pixels.catch(() => {}); // reported when it is its turn
    ahead = next;
    const features: SourceFeatures = Object.fromEntries(
      sources.map(({ name, width, tokens }) => [
        name,
        new Float32Array(protocol.batch * width * (tokens ?? 1)),
      ]),
    );
    for (let first = 0; first < protocol.batch; first += encoder.batch) {
      const count = Math.min(encoder.batch, protocol.batch - first);
      const input = new Uint8Array(encoder.batch * area);
      input.set(images.subarray(first * area, (first + count) * area));
      const found = await finiteFeatures(encoder, input, count, (i) => nameOf(step, first + i));
      const made = sourceFeatures(encoder, found, sources, count);
      for (const { name, width, tokens } of sources) {
        features[name]!.set(made[name]!, first * width * (tokens ?? 1));
      }
    }
    return { features, labels: draw(step).map((at) => label(split.train[at]!)) };
  };
}
