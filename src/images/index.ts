// What other folders use of images.

export {
  type Batch,
  type Batches,
  type BatchOptions,
  type BatchStats,
  openBatches,
} from './batches.js';
export { type DataSet, findDataSets } from './datasets.js';
export { sameForm } from './listing.js';
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
export { comparePalettes } from './palettes.js';
export { decodeImage, decodeLabelMap, encodePng, renderSvg } from './pixels.js';
export { type ReaderOptions, readAll } from './readers.js';
export {
  type Box,
  type LabelMap,
  type RawImage,
  resizeAndCenterCrop,
  resizeBicubic,
  resizeNearest,
} from './resample.js';
export { drawnSize, type ImageSource, labelsOf, openSource, type SourceOptions } from './source.js';
export {
  channelStats,
  contactSheet,
  labelCounts,
  paintLabels,
  type Sample,
  sampleSource,
  sourceNotes,
} from './survey.js';
export { randomResizedCrop } from './transform.js';
export { parseSourceUri, SCHEMES, type Split } from './uri.js';
export {
  type EvaluationOptions,
  type EvaluationTransform,
  type EvaluationView,
  readForEvaluation,
} from './views.js';
