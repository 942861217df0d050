// What a pickle can hold here, and how it is named in errors.

/** A name that the pickle asks for and the allow-list knows; `call` builds a value where the name may be called; undefined for arguments that it does not take. */
export class PickleGlobal {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly PickleValue[]) => PickleValue | undefined,
  ) {}
}

/** What a pickle can hold here. Tuples are frozen arrays, lists are not; `object` is what builders and `persistent` make. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PickleValue[]
  | PickleDict
  | PickleGlobal
  | object;

/** A value made by the allow-list whose state a pickle may set once it is there (BUILD). */
export abstract class Buildable {
  /** Takes the state; false where it is none of this kind. */
  abstract build(state: PickleValue): boolean;
}

/** A dict; keys are strings and numbers. `collections.OrderedDict` is one too, marked so that its `_metadata` is let pass. */
export class PickleDict extends Map<string | number, PickleValue> {
  ordered = false;
}

/** A name of the file, short and without control characters. */
export function shown(text: string): string {
  const clean = text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
  return clean.length > 120 ? `${clean.slice(0, 117)}...` : clean;
}

/** What a value is, in words. */
export function describe(value: PickleValue): string {
  if (value instanceof PickleGlobal) return value.name;
  if (value instanceof PickleDict) return 'a dict';
  if (Array.isArray(value)) return Object.isFrozen(value) ? 'a tuple' : 'a list';
  if (value === null) return 'None';
  return typeof value === 'object' ? `a ${value.constructor.name}` : `a ${typeof value}`;
}
