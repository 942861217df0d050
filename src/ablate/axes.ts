// The axes of an ablation: what `predictor=fused` or `masking=random@0.9` sets in a config.
import { acceptedBy, choicesOf, isKnown, nearestKey } from '../config/keys.js';
import { nearest } from '../config/nearest.js';
import { yamlValue } from '../config/yaml.js';
import { UsageError } from '../errors.js';

/** Settings by dotted key. */
export type Settings = Record<string, unknown>;

/** One value of an axis: how it is written, and what it sets. */
export interface AxisValue {
  readonly label: string;
  readonly settings: Settings;
}

interface NamedAxis {
  /** The values, as a message lists them. */
  readonly values: string;
  settings(value: string): Settings | undefined;
  /** The value that a config has. */
  readonly label: (read: (key: string) => unknown) => unknown;
}

/** Axes with values of their own; every other axis is a key of the config. */
const NAMED: Record<string, NamedAxis> = {
  predictor: words('model.predictor.type'),
  masking: {
    values: `${choicesOf('masking.type').join(', ')}, each with an optional +roll and @RATIO`,
    settings: (value) => {
      const [, type, roll, ratio] = /^([\w-]+)(\+roll)?(?:@(0?\.\d+))?$/.exec(value) ?? [];
      if (type === undefined || !choicesOf('masking.type').includes(type)) return undefined;
      return {
        'masking.type': type,
        'masking.roll': roll !== undefined,
        ...(ratio === undefined ? {} : { 'masking.ratio': Number(ratio) }),
      };
    },
    label: (read) => `${read('masking.type')}${read('masking.roll') === true ? '+roll' : ''}`,
  },
  registers: {
    values: 'a whole number',
    settings: (value) => (/^\d+$/.test(value) ? { 'model.registers': Number(value) } : undefined),
    label: (read) => read('model.registers'),
  },
  loss: words('loss.type'),
  sinkhorn: words('clustering.sinkhorn'),
  positions: words('model.positions'),
};

/** The values of an axis are those that the config's key accepts. */
function words(key: string): NamedAxis {
  const values = choicesOf(key);
  return {
    values: values.join(', '),
    settings: (value) => (values.includes(value) ? { [key]: value } : undefined),
    label: (read) => read(key),
  };
}

/** Keys that no axis can vary: seeds and threads are the grid's, and the rest changes no number. */
const RESERVED = [/^seed$/, /^(engine|health|checkpoint)(\.|$)/, /^evals(\.|$)/];

/**
 * Refuses an axis that does not exist.
 * @throws UsageError naming the nearest one
 */
export function checkAxis(axis: string): void {
  if (Object.hasOwn(NAMED, axis)) return;
  if (RESERVED.some((pattern) => pattern.test(axis))) {
    throw new UsageError(
      `${axis} cannot be an axis: seeds, probe seeds and threads are keys of the grid, and other engine, health and checkpoint settings are its base's`,
    );
  }
  if (isKnown(axis) && !acceptedBy(axis).startsWith('the keys ')) return;
  const guess = nearest(axis, Object.keys(NAMED)) ?? nearestKey(axis);
  const known = `${Object.keys(NAMED).join(', ')}, or a config key such as clustering.prototypes`;
  throw new UsageError(
    `unknown axis "${axis}"${guess === undefined ? '' : `; did you mean "${guess}"?`} (axes: ${known})`,
  );
}

/** A value of an axis as a grid file or the command line has it. @throws UsageError naming what is accepted */
export function axisValue(axis: string, value: unknown): AxisValue {
  checkAxis(axis);
  if (!isJson(value))
    throw new UsageError(`${axis} has the value ${notJson(value)}; accepted: finite numbers`);
  const own = NAMED[axis];
  const label = typeof value === 'string' ? value : JSON.stringify(value);
  if (!own) return { label, settings: { [axis]: value } };
  const settings = own.settings(label);
  if (!settings) throw new UsageError(`${axis} has the value ${label}; accepted: ${own.values}`);
  return { label, settings };
}

/** False for NaN and infinity, alone or in a list: no label and no file can hold them. */
export function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(isJson);
}

const notJson = (value: unknown): string => (typeof value === 'number' ? `${value}` : 'with NaN or infinity');

/** `AXIS=V1,V2`: values are split at commas outside of brackets and quotes; those of config keys are YAML. */
export function inlineAxis(text: string): { axis: string; values: AxisValue[] } {
  const equals = text.indexOf('=');
  if (equals < 1) {
    throw new UsageError(
      `--grid ${text} is no file and does not read AXIS=V1,V2,...; for example --grid predictor=fused,self,cross`,
    );
  }
  const axis = text.slice(0, equals).trim();
  checkAxis(axis);
  const values = splitAtCommas(text.slice(equals + 1)).map((word) => {
    if (word === '') throw new UsageError(`--grid ${text} has an empty value`);
    if (Object.hasOwn(NAMED, axis)) return axisValue(axis, word);
    return { ...axisValue(axis, yamlValue(word, `--grid ${text}: ${word}`)), label: word };
  });
  return { axis, values };
}

function splitAtCommas(text: string): string[] {
  const words = [''];
  let depth = 0;
  let quote = '';
  for (const c of text) {
    if (quote !== '') quote = c === quote ? '' : quote;
    else if (c === '"' || c === "'") quote = c;
    else if ('[{'.includes(c)) depth++;
    else if (']}'.includes(c)) depth--;
    if (c === ',' && depth === 0 && quote === '') words.push('');
    else words[words.length - 1] += c;
  }
  return words.map((word) => word.trim());
}

/** The label of the value that a base has on an axis: for the row of the baseline. */
export function labelOfBase(axis: string, read: (key: string) => unknown): string {
  const value = NAMED[axis] ? NAMED[axis].label(read) : read(axis);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
