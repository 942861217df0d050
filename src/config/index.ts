// The configuration, for everyone outside this folder.

export { type CanonicalConfig, canonicalHash, identity, identityDifferences } from './identity.js';
export { type ConfigRequest, loadConfig, parseConfig, resolvedYaml, settingOf } from './load.js';
export { presetNames, presetsDirectory } from './presets.js';
export { type Config, type EvaluationEntry, isAssigned, type Loss, lossOf } from './schema.js';
export {
  batchParts,
  checkSizes,
  imageSize,
  inParts,
  maskCounts,
  patchCounts,
  predictorSizes,
} from './sizes.js';
export { readYaml, yamlValue } from './yaml.js';
