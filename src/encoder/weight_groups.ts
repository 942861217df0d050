// Which of the models in a file is meant: the EMA or the student, whatever a training script called them, and said when there was a choice.

import { shown } from '../base/text.js';
import { DataError } from '../errors.js';

export type WeightsName = 'ema' | 'student';

/** Parts of a name that wrappers of torch add: data parallel, compile, FSDP, activation checkpointing. */
const ADDED = /(^|\.)(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)/g;

/** What stands before a name of ours, and that name; those of a bare backbone lack `backbone.`. */
const OURS =
  /^((?:[^.]+\.)*?)((?:backbone|head)\..*|(?:encoder|decoder)\.blocks\..*|patch_embed\..*|registers|mask_token)$/s;

type Role = 'ema' | 'teacher' | 'plain' | 'other' | 'student' | 'none';

/** Which model a prefix says that it is. A teacher is the EMA of its student wherever a file has no other. */
function roleOf(prefix: string): Role {
  const words = prefix.split('.').filter((word) => word !== '');
  const has = (pattern: RegExp): boolean => words.some((word) => pattern.test(word));
  if (has(/optim|sched|scaler|grad|state_sync/i)) return 'none'; // moments are kept under the names of their parameters
  if (has(/(^|[^a-z])(ema|swa|averaged?)($|[^a-z])/i)) return 'ema';
  if (has(/teacher|momentum/i)) return 'teacher';
  if (has(/student|online/i)) return 'student';
  return words.every((w) => /^(model|state_dict|model_state_dict|net|network|weights|params)$/.test(w))
    ? 'plain'
    : 'other';
}

/** In this order; a student's weights are never taken for an average, nor an average for the student, without a word. */
const ORDER: Record<WeightsName, Role[]> = {
  ema: ['ema', 'teacher', 'plain', 'other', 'student'],
  student: ['student', 'plain', 'other'],
};

export interface OfficialNames {
  /** The file's names by official name (`backbone.*`, `head.*`); empty where the file holds no backbone. */
  readonly names: Map<string, string>;
  /** What was chosen, where there was a choice or the file calls it something else. */
  readonly notes: string[];
}

interface Group {
  readonly prefix: string;
  readonly role: Role;
  readonly names: Map<string, string>;
}

/**
 * The names of one model of the file. Tensors beside it (optimisers, statistics) belong to no model; those among its own are given back under
 * their own names, for the caller to refuse.
 * @throws DataError where two models of the file could be meant, or only one that was not asked for
 */
export function officialNames(path: string, names: Iterable<string>, which: WeightsName): OfficialNames {
  const groups = new Map<string, Group>();
  const strangers: [short: string, name: string][] = [];
  const given = [...names];
  for (const name of given) {
    const short = name.replace(ADDED, '').replace(/^\./, '');
    const [, prefix, rest] = OURS.exec(short) ?? [];
    if (/(^|\.)n_averaged$/.test(short)) continue; // torch's AveragedModel counts its averages beside the model
    if (prefix === undefined || rest === undefined) {
      strangers.push([short, name]);
      continue;
    }
    if (!groups.has(prefix)) groups.set(prefix, { prefix, role: roleOf(prefix), names: new Map() });
    add(path, groups.get(prefix)!, official(rest), name);
  }
  const models = [...groups.values()].filter(
    ({ role, names }) => role !== 'none' && [...names.keys()].some((name) => name.startsWith('backbone.')),
  );
  const chosen = choose(path, models, which);
  if (!chosen) return { names: new Map(), notes: [] };
  const { prefix } = chosen;
  for (const [short, name] of strangers) {
    const own =
      short.startsWith(prefix) &&
      !models.some((m) => m !== chosen && m.prefix.length > prefix.length && short.startsWith(m.prefix));
    if (own && !(prefix === '' && /^[^.]*(optim|sched|scaler)/i.test(short)))
      add(path, chosen, short.slice(prefix.length), name);
  }
  return { names: chosen.names, notes: notesOf(chosen, models, which) };
}

const official = (rest: string): string =>
  rest
    .replace(/^(?=(encoder|decoder)\.blocks\.|patch_embed\.|(registers|mask_token)$)/, 'backbone.')
    .replace(/\.parametrizations\.weight\.original0$/, '.weight_g')
    .replace(/\.parametrizations\.weight\.original1$/, '.weight_v');

function add(path: string, { names }: Group, name: string, source: string): void {
  const other = names.get(name);
  if (other !== undefined) {
    throw new DataError(
      `${path} holds ${shown(name)} twice, as ${shown(other)} and as ${shown(source)}: keep the one that is meant`,
      { path },
    );
  }
  names.set(name, source);
}

function choose(path: string, models: readonly Group[], which: WeightsName): Group | undefined {
  for (const role of ORDER[which]) {
    const found = models.filter((m) => m.role === role);
    if (found.length > 1) {
      throw new DataError(
        `${path} holds several models that could be the ${which === 'ema' ? 'EMA' : 'student'}: ${found.map(title).join(', ')}; save the one that is meant alone`,
        { path },
      );
    }
    if (found[0]) return found[0];
  }
  if (models.length === 0) return undefined;
  throw new DataError(
    `${path} holds no student weights, only ${models.map(title).join(', ')}: leave --weights student out`,
    { path },
  );
}

const title = ({ prefix }: Group): string => (prefix === '' ? 'names without a prefix' : `${shown(prefix)}*`);

function notesOf(chosen: Group, models: readonly Group[], which: WeightsName): string[] {
  const others = models.filter((m) => m !== chosen);
  const fits = chosen.role === which || (which === 'ema' && chosen.role === 'plain');
  if (others.length === 0 && (chosen.role === 'plain' || fits)) {
    return chosen.role === 'plain' ? [] : [`weights ${title(chosen)} of the file were taken`];
  }
  const is = {
    ema: 'the EMA',
    teacher: 'the teacher, an EMA of the student by custom',
    student: which === 'ema' ? 'the student, since the file holds no EMA' : 'the student',
    plain: which === 'ema' ? 'which the file does not call an EMA' : 'which the file does not call a student',
    other: 'a name that capi does not know',
    none: '',
  }[chosen.role];
  const rest = others.length > 0 ? `; not ${others.map(title).join(', ')}` : '';
  return [`weights ${title(chosen)} of the file were taken (${is})${rest}`];
}
