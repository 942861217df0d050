// What a run learned: logistic regression on the patch features of the trained encoder against those of the untrained one.
import { statisticsOf } from '../encoder/load.js';
import {
  checkpointEncoder,
  type EncoderSource,
  openEncoder,
  patchFeatures,
  randomEncoder,
} from '../encoder/open.js';
import type { Engine } from '../engine/program.js';
import { DataError } from '../errors.js';
import { type ImageSource, type LabelMap, openSource, type RawImage } from '../images/index.js';
import { compareMeanIou, type PairedComparison } from '../scores/intervals.js';
import { OFFICIAL_C_GRID, scorePatchFeatures } from './segmentation.js';

export interface LearnedOptions {
  engine: Engine;
  /** Run folder or checkpoint. */
  run: string;
  weights?: 'ema' | 'student';
  /** Labelled source; default: the run's own. Train and test splits are taken from it. */
  source?: string;
  trainImages: number;
  testImages: number;
  /** Test images to keep for a picture. */
  pictures?: number;
  onMessage?(text: string): void;
}

/** One test image with its labels and what both encoders' patches were taken for. */
export interface LearnedPicture {
  image: RawImage;
  truth: LabelMap;
  trained: LabelMap;
  untrained: LabelMap;
}

export interface LearnedResult {
  checkpoint: string;
  source: string;
  trainImages: number;
  testImages: number;
  patches: number;
  trained: { miou: number; accuracy: number; C: number };
  untrained: { miou: number; accuracy: number; C: number };
  pictures: LearnedPicture[];
  /** Paired bootstrap over test images, 95 %. */
  comparison: PairedComparison;
}

/** Images and label maps of a labelled source at the encoder's size. */
async function labelled(
  source: ImageSource,
  count: number,
  size: { height: number; width: number },
): Promise<{ images: Uint8Array[]; labelMaps: Uint8Array }> {
  if (!source.labelMap) throw new DataError(`${source.uri} has no label maps: name a source with --data`);
  if (source.length < count)
    throw new DataError(`${source.uri} has ${source.length} images, ${count} are asked for`);
  const images: Uint8Array[] = [];
  const labelMaps = new Uint8Array(count * size.height * size.width);
  for (let i = 0; i < count; i++) {
    const image = await source.read(i);
    if (image.height !== size.height || image.width !== size.width) {
      throw new DataError(
        `${source.name(i)} is ${image.height} x ${image.width}, the encoder wants ${size.height} x ${size.width}`,
      );
    }
    images.push(image.data);
    labelMaps.set((await source.labelMap(i)).data, i * size.height * size.width);
  }
  return { images, labelMaps };
}

/**
 * mIoU (official convention, background counted) of L2 logistic regression on frozen, standardised patch features; C is
 * chosen on a tenth of the training images, the model refitted on all of them, the test images are read once. Both
 * encoders get the same images, split and grid.
 */
export async function whatItLearned(o: LearnedOptions): Promise<LearnedResult> {
  const trained = await checkpointEncoder(o.run, o.weights ?? 'ema');
  const { config } = trained;
  const untrained = randomEncoder(config, config.seed);
  const uri = o.source ?? config.data.source;
  const statistics = await statisticsOf(trained);
  const encoder = await openEncoder(o.engine, trained, { batch: 50, ...statistics });
  const { sizes } = encoder;
  const size = { height: sizes.height, width: sizes.width, patch: sizes.patch };
  const open = (split: 'train' | 'test'): Promise<ImageSource> =>
    openSource(uri.replace(/([?&])split=\w+&?/, '$1'), { split, size: sizes.height });
  const train = await labelled(await open('train'), o.trainImages, size);
  const testSource = await open('test');
  const test = await labelled(testSource, o.testImages, size);
  const classes = testSource.labelMapClasses?.length ?? Math.max(...train.labelMaps, ...[0]) + 1;

  const score = async (source: EncoderSource, name: string) => {
    encoder.setWeights(source);
    const features = async (set: { images: Uint8Array[] }): Promise<Float32Array> =>
      patchFeatures(encoder, set.images.length, async (i) => set.images[i]!);
    const task = {
      train: { features: await features(train), labelMaps: train.labelMaps },
      test: { features: await features(test), labelMaps: test.labelMaps },
    };
    o.onMessage?.(`${name} encoder: features of ${o.trainImages} + ${o.testImages} images, fitting`);
    return scorePatchFeatures({
      ...task,
      size,
      classes,
      ignore: testSource.ignoreLabels ?? [],
      cGrid: OFFICIAL_C_GRID,
      validationShare: 0.1,
      seed: 0,
      refit: true,
    });
  };
  const a = await score(trained, 'trained');
  const b = await score(untrained, 'untrained');
  await encoder.close();
  return {
    checkpoint: trained.origin,
    source: testSource.uri,
    trainImages: o.trainImages,
    testImages: o.testImages,
    patches: sizes.patches,
    trained: { miou: a.miou, accuracy: a.accuracy, C: a.bestC },
    untrained: { miou: b.miou, accuracy: b.accuracy, C: b.bestC },
    pictures: Array.from({ length: Math.min(o.pictures ?? 0, o.testImages) }, (_, i) => {
      const { height, width } = size;
      const map = (predicted: Int32Array): LabelMap => patchesToMap(predicted, i, size);
      return {
        image: { data: test.images[i]!, height, width },
        truth: { data: test.labelMaps.slice(i * height * width, (i + 1) * height * width), height, width },
        trained: map(a.predicted),
        untrained: map(b.predicted),
      };
    }),
    comparison: compareMeanIou(a.perImageConfusion, b.perImageConfusion, { seed: 0 }),
  };
}

/** The patch labels of image `i` as a label map. */
function patchesToMap(
  predicted: Int32Array,
  i: number,
  size: { height: number; width: number; patch: number },
): LabelMap {
  const { height, width, patch } = size;
  const [rows, columns] = [height / patch, width / patch];
  const data = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = Math.floor(y / patch) * columns + Math.floor(x / patch);
      data[y * width + x] = predicted[i * rows * columns + cell]!;
    }
  }
  return { data, height, width };
}
