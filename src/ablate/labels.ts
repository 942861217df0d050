// Whether the labels of a grid say what is trained: keys that are set twice, keys that the grid owns, names that cannot be told apart.

import { shown } from '../base/text.js';
import { UsageError } from '../errors.js';
import { type AxisValue, axisValue, checkAxis, isJson, type Settings } from './axes.js';

/** Keys of a config that a grid sets itself, in every arm: what stands elsewhere would be passed over. */
const OWNED: Record<string, { file: string; inline: string }> = {
  seed: {
    file: 'the seeds of a grid are its key seeds (a number of them, or a list)',
    inline: 'an inline grid has the seeds 0, 1, ... of --seeds; a grid file can list others (seeds: [7])',
  },
  'engine.threads': {
    file: 'the threads of all runs are the key threads of the grid',
    inline: 'the runs of an inline grid have one thread each; a grid file can say more (threads: 2)',
  },
  evals: {
    file: 'what is evaluated is the key evals of the grid',
    inline: 'what is evaluated is --evals, or the key evals of the base',
  },
};

/** Among the changes of the base: keys that a grid owns, and numbers that are none. */
export function ownedFaults(set: Settings, inline: boolean): string[] {
  return Object.entries(set).flatMap(([key, value]) => {
    if (!isJson(value)) return [`set has ${key} with NaN or infinity; accepted: finite numbers`];
    const why = Object.hasOwn(OWNED, key) ? OWNED[key]! : undefined;
    return why ? [`set has ${key}, which would be passed over: ${inline ? why.inline : why.file}`] : [];
  });
}

const keysOf = (values: readonly AxisValue[]): Set<string> =>
  new Set(values.flatMap(({ settings }) => Object.keys(settings)));

/** Axes that set one key: of two values an arm can be trained with one only, and its label names both. */
export function overlapFaults(axes: Readonly<Record<string, readonly AxisValue[]>>): string[] {
  const faults: string[] = [];
  const names = Object.keys(axes);
  for (const [i, a] of names.entries()) {
    for (const b of names.slice(i + 1)) {
      const [first, second] = [keysOf(axes[a]!), keysOf(axes[b]!)];
      const both = [...first].filter((key) => second.has(key));
      if (both.length > 0)
        faults.push(`the axes ${a} and ${b} both set ${both.join(', ')}: leave it to one of them`);
    }
  }
  return faults;
}

/** Of a crossed grid: changes of the base that no arm is trained with, because an axis sets the key in all of them. */
export function idleFaults(set: Settings, axes: Readonly<Record<string, readonly AxisValue[]>>): string[] {
  return Object.keys(set).flatMap((key) => {
    const axis = Object.keys(axes).find((name) =>
      axes[name]!.every(({ settings }) => Object.hasOwn(settings, key)),
    );
    return axis === undefined
      ? []
      : [`set has ${key}, which the axis ${axis} sets in every arm: no arm is trained with it, leave it out`];
  });
}

/** What a named arm sets, by config key. @throws UsageError for a key that is set twice, or a name that says otherwise */
export function armSettings(name: string, sets: Settings): Settings {
  const settings: Settings = {};
  const from = new Map<string, string>();
  for (const [axis, value] of Object.entries(sets)) {
    for (const [key, own] of Object.entries(axisValue(axis, value).settings)) {
      if (from.has(key)) {
        throw new UsageError(
          `the arm ${shown(name)} sets ${key} twice (as ${from.get(key)} and as ${axis}): leave it to one of them`,
        );
      }
      from.set(key, axis);
      settings[key] = own;
    }
  }
  for (const word of name.split(/\s+/)) {
    const claimed = claimOf(word);
    if (!claimed) continue;
    for (const [key, value] of Object.entries(claimed)) {
      if (!Object.hasOwn(settings, key) || JSON.stringify(settings[key]) === JSON.stringify(value)) continue;
      throw new UsageError(
        `the arm ${shown(name)} sets ${key} to ${JSON.stringify(settings[key])}, and its name says ${shown(word)}: give it another name`,
      );
    }
  }
  return settings;
}

/** What a word of a name such as `registers=0` says of the settings; undefined where it says nothing. */
function claimOf(word: string): Settings | undefined {
  const [axis, ...rest] = word.split('=');
  const text = rest.join('=');
  if (text === '') return undefined;
  try {
    checkAxis(axis!);
    const number = Number(text);
    return axisValue(axis!, Number.isNaN(number) ? text : number).settings;
  } catch {
    return undefined; // no axis of that name or no value of it: a name like any other
  }
}

/** Letters of other scripts, and signs, that are drawn like those of ASCII: the ones in use (Unicode's confusables.txt has thousands). */
const DRAWN_ALIKE = new Map<string, string>();
for (const [look, letters] of Object.entries({
  ...{ a: 'аαɑ', b: 'Ьƅ', c: 'сϲ', d: 'ԁ', e: 'еҽ', g: 'ɡ', h: 'һհ', i: 'іιıɩ', j: 'јϳ', k: 'кκ', l: 'ӏǀ' },
  ...{ n: 'ո', o: 'оοօσ', p: 'рρ', q: 'ԛգ', s: 'ѕ', u: 'υսʋ', v: 'νѵ', w: 'ԝա', x: 'хχ', y: 'уγү', z: 'ᴢ' },
  ...{ A: 'АΑ', B: 'ВΒ', C: 'СϹ', E: 'ЕΕ', F: 'Ϝ', H: 'НΗ', I: 'ІΙӀ', J: 'Ј', K: 'КΚ', M: 'МΜ', N: 'Ν' },
  ...{ O: 'ОΟՕ', P: 'РΡ', S: 'ЅՏ', T: 'ТΤ', X: 'ХΧ', Y: 'УΥҮ', Z: 'Ζ' },
  ...{
    '-': '‐‑‒–—−ー',
    '=': '꞊═',
    '.': '․',
    ',': '‚',
    "'": '’‘ʼ′',
    '"': '“”″',
    '*': '∗',
    ':': '∶꞉',
    '/': '∕⁄',
  },
})) {
  for (const letter of letters) DRAWN_ALIKE.set(letter, look);
}

/** Two names of one look are equal here: case, white space, forms of Unicode, invisible characters, letters of other scripts. */
export function lookOf(name: string): string {
  return [...name.normalize('NFKC').replace(/[\p{Cf}\p{Cc}\p{Default_Ignorable_Code_Point}]/gu, ' ')]
    .map((character) => DRAWN_ALIKE.get(character) ?? character)
    .join('')
    .toLowerCase()
    .replace(/\s+/gu, ' ')
    .trim();
}

const MOST_CHARACTERS = 200;

/** Names that are empty, hold what cannot be seen, or look like another; `what` they are names of. */
export function nameFaults(names: readonly string[], what: string): string[] {
  const faults: string[] = [];
  const looks = new Map<string, string>();
  for (const name of names) {
    const look = lookOf(name);
    const quoted = JSON.stringify(shown(name));
    const other = looks.get(look);
    if (look === '') faults.push(`an ${what} has the name ${quoted}: give it one that can be read`);
    else if (name.length > MOST_CHARACTERS)
      faults.push(
        `the name of the ${what} ${JSON.stringify(shown(name.slice(0, 40)))}... has ${name.length} characters: at most ${MOST_CHARACTERS}`,
      );
    else if (/[\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u.test(name))
      faults.push(`the ${what} ${quoted} has a control or invisible character in its name: leave it out`);
    else if (name.trim() !== name)
      faults.push(`the ${what} ${quoted} begins or ends with white space: leave it out`);
    if (other === name) faults.push(`two ${what}s have the name ${quoted}: give each a name of its own`);
    else if (other !== undefined && look !== '')
      faults.push(
        `the ${what}s ${JSON.stringify(shown(other))} and ${quoted} look alike: give each a name that cannot be mistaken`,
      );
    else looks.set(look, name);
  }
  return faults;
}
