// Segmentation on one frozen encoder: patch features and labels from the store, every head selected before any test set is opened.
import type { RowSource } from '../../features/rows.js';
import type { ImageSource } from '../../images/index.js';
import { type EvaluationData, openPatches } from '../dataset.js';
import type { ProbeRequest, TestData } from '../task.js';
import { segment } from './index.js';
import { patchOracle } from './oracle.js';
import type { PatchRows, SegmentationResult, TestCounts } from './patch_set.js';
import type { SegmentationProtocol } from './protocol.js';

/** The heads, and what labels a patch at a time can reach at most, by name of the test set. */
export interface SegmentOutcomes {
  readonly heads: readonly SegmentationResult[];
  readonly oracle: Readonly<Record<string, TestCounts>>;
  /** Pixels of the training images by label id. */
  readonly learnt: Float64Array;
}

/** Number of label map classes. */
export const mapClasses = (source: ImageSource): number => source.labelMapClasses?.length ?? 256;

/**
 * All heads of a protocol on one encoder, and the patch-grid oracle.
 * @throws DataError for sources without label maps or labels that are no class, InterruptedError; the same request goes on
 */
export async function segmentEncoder(request: ProbeRequest<SegmentationProtocol>): Promise<SegmentOutcomes> {
  const { engine, encoder, protocol, train, tests, split, seed, watch } = request;
  const opened: { close(): Promise<void> }[] = [];
  const rowsOf = async (data: EvaluationData, part: string): Promise<PatchRows> => {
    const set = await openPatches('labels', request, data, part);
    opened.push(set);
    return { images: set.images, features: set.features, labels: set.maps };
  };
  const classes = mapClasses(train.source);
  const ignore = train.source.ignoreLabels ?? [];
  let learnt = new Float64Array(256);
  try {
    const sets = new Map<string, Promise<PatchRows>>();
    const open = (test: TestData): Promise<PatchRows> => {
      const known = sets.get(test.name);
      if (known) return known;
      const rows = test.reading().then(() => rowsOf(test.data, test.name));
      sets.set(test.name, rows);
      return rows;
    };
    const heads = await segment(
      {
        engine,
        train: await rowsOf(train, 'training images'),
        split,
        grid: encoder.grid,
        patch: encoder.patch,
        classes,
        ignore,
        seed,
        tests: tests.map((test) => ({ name: test.name, open: () => open(test) })),
        state: request.state,
        ...(watch?.signal ? { signal: watch.signal } : {}),
        onTrainingPixels: (counts) => {
          learnt = Float64Array.from(counts);
        },
        onProgress: (text, share) => watch?.onStage?.(text, Math.round(100 * share), 100),
      },
      protocol,
    );
    const oracle: Record<string, TestCounts> = {};
    for (const test of tests) {
      const { labels, images } = await open(test);
      oracle[test.name] = await patchOracle({
        images,
        labels: labels as RowSource<Uint8Array>,
        classes,
        ignore,
      });
    }
    return { heads, oracle, learnt };
  } finally {
    for (const file of opened) await file.close();
  }
}
