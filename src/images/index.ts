// What other folders use of images.

export { decodeImage, decodeLabelMap, encodePng, renderSvg } from './decode/pixels.js';
export {
  type Box,
  type DepthMap,
  type LabelMap,
  type RawImage,
  resizeAndCenterCrop,
  resizeBicubic,
  resizeNearest,
} from './decode/resample.js';
export {
  type Batch,
  type Batches,
  type BatchOptions,
  type BatchStats,
  openBatches,
} from './draw/batches.js';
export { randomResizedCrop } from './draw/transform.js';
export { IMAGENET, pixelStatistics } from './normalise.js';
export {
  compareFingerprints,
  type Fingerprints,
  findOverlap,
  fingerprints,
  type Match,
  type Overlap,
  type OverlapOptions,
  overlapWarning,
} from './overlap.js';
export { comparePalettes } from './read/palettes.js';
export { type ReaderOptions, readAll } from './read/readers.js';
export {
  type EvaluationOptions,
  type EvaluationTransform,
  type EvaluationView,
  readForEvaluation,
} from './read/views.js';
export {
  drawnSize,
  type ImageSource,
  labelsOf,
  type SourceOptions,
  type Split,
} from './source.js';
export { type DataSet, findDataSets } from './sources/datasets.js';
export { sameForm } from './sources/files/listing.js';
export { openSource, SOURCES } from './sources/index.js';
export {
  channelStats,
  contactSheet,
  labelCounts,
  paintLabels,
  type Sample,
  sampleSource,
  sourceNotes,
} from './survey.js';
