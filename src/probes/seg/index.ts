// Segmentation on frozen patch features: every head of a protocol is selected before any test set is opened.
import { ImageCounter, type ImageCounts } from '../../scores/confusion.js';
import { meanIouIn } from '../../scores/conventions.js';
import { selectKnn } from './knn.js';
import { selectLinear } from './linear.js';
import { selectLogistic } from './logistic.js';
import type { SegmentationRequest, SegmentationResult, SelectedHead, TestCounts } from './patch_set.js';
import type { SegmentationProtocol } from './protocol.js';
import { checkSet, prepareTraining, stopIfAsked } from './samples.js';

/** The part of a protocol that heads read; the transform is the business of whoever makes the features. */
export type HeadsProtocol = Pick<
  SegmentationProtocol,
  'standardise' | 'metric' | 'knn' | 'logreg' | 'linear'
>;

/**
 * Selects and fits every head that the protocol names, then opens each test set once and scores all of them on it, image by image.
 * Features and labels are read in blocks; what is held at a time is bounded by `request.memory`, one block of the engine's and, for k-NN,
 * the neighbours of one set. `request.state` keeps settings that are done.
 * @throws DataError for labels that are no class, or no pixel to choose on; UsageError for an impossible split or grid; RangeError for sizes
 *   that do not fit; DivergedError when every linear head diverged; InterruptedError when `signal` stops it
 */
export async function segment(
  request: SegmentationRequest,
  protocol: HeadsProtocol,
): Promise<SegmentationResult[]> {
  const miou = (counts: ImageCounts) => meanIouIn(protocol.metric, counts, request);
  const heads: SelectedHead[] = [];
  const training = await prepareTraining(request, protocol.standardise);
  if (protocol.knn) heads.push(await selectKnn(request, protocol.knn, training, miou));
  if (protocol.logreg) heads.push(await selectLogistic(request, protocol.logreg, training, miou));
  if (protocol.linear) heads.push(await selectLinear(request, protocol.linear, miou));

  const tests: Record<string, TestCounts>[] = heads.map(() => ({}));
  for (const { name, open } of request.tests) {
    const set = await open();
    checkSet(set, training.patches, training.pixels);
    for (const [h, head] of heads.entries()) {
      const counter = new ImageCounter(set.images, request);
      let image = 0;
      for await (const predicted of head.predict(set)) {
        stopIfAsked(request);
        counter.add(await set.labels.read(image * training.patches, training.patches), predicted);
        image++;
      }
      tests[h]![name] = { counts: counter.counts, confusion: counter.confusion };
    }
  }
  return heads.map(({ head, grid, selected, refit, notes }, h) => ({
    ...{ head, grid, selected, refit, notes },
    tests: tests[h]!,
  }));
}
