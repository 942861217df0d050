// A pickle reader that builds plain data only: it knows no classes, imports nothing, and calls nothing but an allow-list of builders.
import { DataError } from '../../errors.js';
import { Buildable, describe, PickleDict, PickleGlobal, type PickleValue, shown } from './values.js';

export { PickleDict, PickleGlobal, type PickleValue };

export interface PickleOptions {
  /** Shown in errors. */
  path: string;
  /** What is read beside plain data, and what to do with a file that is refused; those of a checkpoint where they are not given. */
  content?: string;
  mend?: string;
  /** The allow-list, by `module.name`. */
  globals: ReadonlyMap<string, PickleGlobal>;
  /** Resolves a persistent id; throws DataError for one that it does not know. Without it there are none. */
  persistent?(id: PickleValue): PickleValue;
}

const MOST_LONG_BYTES = 1024;
/** Bounds of one pickle, far above what a checkpoint needs: a state dict has some ten steps and two containers a tensor. */
const MOST_STEPS = 10_000_000;
const MOST_CONTAINERS = 1_000_000;
const MOST_DEPTH = 10_000;

/**
 * Reads one pickle of protocol 2 to 5. Every global outside of the allow-list, and every opcode that would make or fill an
 * object of a class (REDUCE on anything but an allowed builder, BUILD, INST, OBJ, NEWOBJ, EXT), ends it with a DataError.
 * Memory is linear in the number of bytes: lengths are checked before anything is allocated. Steps, containers and depth are bounded, so that
 * the worst pickle ends in seconds.
 */
export function readPickle(bytes: Uint8Array, options: PickleOptions): PickleValue {
  return new Machine(bytes, options).run();
}

/** The stack machine that a pickle drives. */
class Machine {
  private readonly view: DataView;
  private at = 0;
  private stack: PickleValue[] = [];
  private readonly marks: PickleValue[][] = [];
  private readonly memo = new Map<number, PickleValue>();
  private steps = 0;
  private containers = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly options: PickleOptions,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): PickleValue {
    if (this.bytes[0] !== 0x80)
      throw this.damaged('it does not start as a pickle of protocol 2 or later does');
    for (;;) {
      const op = this.u8();
      this.work(1);
      if (op === 0x2e) {
        if (this.stack.length !== 1 || this.marks.length > 0) throw this.damaged('its pickle ends half-way');
        return this.stack[0]!;
      }
      if (!this.data(op) && !this.container(op) && !this.memoOp(op)) this.object(op);
    }
  }

  /** Numbers, strings and other leaves. */
  private data(op: number): boolean {
    switch (op) {
      case 0x80: {
        // PROTO
        const protocol = this.u8();
        if (protocol < 2 || protocol > 5)
          throw this.damaged(`its pickle has protocol ${protocol}; read are 2 to 5`);
        return true;
      }
      case 0x95: // FRAME: only says how much to read ahead
        this.length8();
        return true;
      case 0x4e: // NONE
        return this.push(null);
      case 0x88: // NEWTRUE
        return this.push(true);
      case 0x89: // NEWFALSE
        return this.push(false);
      case 0x4b: // BININT1
        return this.push(this.u8());
      case 0x4d: // BININT2
        return this.push(this.view.getUint16(this.take(2), true));
      case 0x4a: // BININT
        return this.push(this.view.getInt32(this.take(4), true));
      case 0x8a: // LONG1
        return this.push(this.long(this.u8()));
      case 0x8b: // LONG4
        return this.push(this.long(this.u32()));
      case 0x47: // BINFLOAT
        return this.push(this.view.getFloat64(this.take(8), false));
      case 0x8c: // SHORT_BINUNICODE
        return this.push(this.text(this.u8()));
      case 0x58: // BINUNICODE
        return this.push(this.text(this.u32()));
      case 0x8d: // BINUNICODE8
        return this.push(this.text(this.length8()));
      case 0x55: // SHORT_BINSTRING
        return this.push(this.text(this.u8()));
      case 0x54: // BINSTRING
        return this.push(this.text(this.u32()));
      case 0x43: // SHORT_BINBYTES
        return this.push(this.raw(this.u8()));
      case 0x42: // BINBYTES
        return this.push(this.raw(this.u32()));
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.push(this.raw(this.length8()));
      default:
        return false;
    }
  }

  /** Tuples, lists, dicts, and the stack itself. */
  private container(op: number): boolean {
    switch (op) {
      case 0x28: // MARK
        if (this.marks.length === MOST_DEPTH) throw this.tooMuch(`${MOST_DEPTH} groups in groups`);
        this.contained(this.stack);
        this.marks.push(this.stack);
        this.stack = [];
        return true;
      case 0x30: // POP
        if (this.stack.length === 0) this.toMark();
        else this.stack.pop();
        return true;
      case 0x31: // POP_MARK
        this.toMark();
        return true;
      case 0x32: // DUP
        return this.push(this.top());
      case 0x29: // EMPTY_TUPLE
        return this.push(this.contained(Object.freeze([])));
      case 0x85: // TUPLE1
        return this.push(this.tuple(1));
      case 0x86: // TUPLE2
        return this.push(this.tuple(2));
      case 0x87: // TUPLE3
        return this.push(this.tuple(3));
      case 0x74: // TUPLE
        return this.push(Object.freeze(this.toMark()));
      case 0x5d: // EMPTY_LIST
        return this.push(this.contained([]));
      case 0x6c: // LIST
        return this.push(this.toMark());
      case 0x61: {
        // APPEND
        const item = this.pop();
        this.list().push(item);
        return true;
      }
      case 0x65: {
        // APPENDS
        const items = this.toMark();
        const list = this.list();
        for (const item of items) list.push(item);
        return true;
      }
      case 0x7d: // EMPTY_DICT
        return this.push(this.contained(new PickleDict()));
      case 0x64: {
        // DICT
        const items = this.toMark();
        this.push(new PickleDict());
        return this.setItems(items);
      }
      case 0x73: {
        // SETITEM
        const value = this.pop();
        return this.setItems([this.pop(), value]);
      }
      case 0x75: // SETITEMS
        return this.setItems(this.toMark());
      default:
        return false;
    }
  }

  private memoOp(op: number): boolean {
    switch (op) {
      case 0x71: // BINPUT
        this.memo.set(this.u8(), this.top());
        return true;
      case 0x72: // LONG_BINPUT
        this.memo.set(this.u32(), this.top());
        return true;
      case 0x94: // MEMOIZE
        this.memo.set(this.memo.size, this.top());
        return true;
      case 0x68: // BINGET
        return this.push(this.remembered(this.u8()));
      case 0x6a: // LONG_BINGET
        return this.push(this.remembered(this.u32()));
      default:
        return false;
    }
  }

  /** What a pickle uses to make objects: names of the allow-list and persistent ids; the rest is refused. */
  private object(op: number): void {
    switch (op) {
      case 0x63: // GLOBAL
        this.push(this.global(this.line(), this.line()));
        return;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [this.pop(), this.pop()];
        if (typeof name !== 'string' || typeof module !== 'string')
          throw this.refused('a name that is no text');
        this.push(this.global(module, name));
        return;
      }
      case 0x51: // BINPERSID
        if (!this.options.persistent) throw this.refused('something by a persistent id');
        this.push(this.options.persistent(this.pop()));
        return;
      case 0x52: {
        // REDUCE
        const [args, callee] = [this.pop(), this.pop()];
        if (!(callee instanceof PickleGlobal)) throw this.refused('a call of something that is no name');
        if (!callee.call) throw this.refused(`a call of ${callee.name}`);
        if (!Array.isArray(args) || !Object.isFrozen(args))
          throw this.damaged('a call has no tuple of arguments');
        this.work(Array.isArray(args[0]) ? args[0].length : 1);
        const made = callee.call(args);
        if (made === undefined) throw this.refused(`a call of ${callee.name} with what is no number`);
        this.push(this.contained(made));
        return;
      }
      case 0x62: {
        // BUILD: torch puts `_metadata` on the ordered dict of a state dict; nothing is done with it
        const [state, target] = [this.pop(), this.top()];
        if (target instanceof Buildable && target.build(state)) return;
        const harmless = state instanceof PickleDict && [...state.keys()].every((key) => key === '_metadata');
        if (!(target instanceof PickleDict) || !target.ordered || !harmless) {
          throw this.refused(`setting the state of ${describe(target)} (BUILD)`);
        }
        return;
      }
      case 0x69: // INST
        throw this.refused(`an instance of ${this.line()}.${this.line()} (INST)`);
      case 0x6f: // OBJ
        throw this.refused(`an instance of ${describe(this.toMark()[0] ?? null)} (OBJ)`);
      case 0x81: // NEWOBJ
      case 0x92: // NEWOBJ_EX
        this.pop();
        if (op === 0x92) this.pop();
        throw this.refused(`an instance of ${describe(this.pop())} (NEWOBJ)`);
      case 0x82: // EXT1
        throw this.refused(`extension ${this.u8()} of the copyreg registry (EXT)`);
      case 0x83: // EXT2
        throw this.refused(
          `extension ${this.view.getUint16(this.take(2), true)} of the copyreg registry (EXT)`,
        );
      case 0x84: // EXT4
        throw this.refused(`extension ${this.u32()} of the copyreg registry (EXT)`);
      case 0x50: // PERSID
        throw this.refused(`the persistent id ${shown(this.line())} as text`);
      default:
        throw this.refused(`opcode 0x${op.toString(16).padStart(2, '0')} at byte ${this.at - 1}`);
    }
  }

  private global(module: string, name: string): PickleGlobal {
    const full = `${module}.${name}`;
    const known = this.options.globals.get(full);
    if (!known) throw this.refused(shown(full));
    return known;
  }

  private work(steps: number): void {
    this.steps += steps;
    if (this.steps > MOST_STEPS) throw this.tooMuch(`${MOST_STEPS} steps`);
  }
  private contained<T extends PickleValue>(value: T): T {
    if (++this.containers > MOST_CONTAINERS) throw this.tooMuch(`${MOST_CONTAINERS} lists, dicts and tuples`);
    return value;
  }
  private push(value: PickleValue): true {
    this.stack.push(value);
    return true;
  }
  private pop(): PickleValue {
    if (this.stack.length === 0) throw this.damaged('its pickle takes more from the stack than is there');
    return this.stack.pop()!;
  }
  private top(): PickleValue {
    if (this.stack.length === 0) throw this.damaged('its pickle reads an empty stack');
    return this.stack.at(-1)!;
  }
  private toMark(): PickleValue[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (!below) throw this.damaged('its pickle ends a group that never began');
    this.stack = below;
    return items;
  }
  private tuple(n: number): PickleValue {
    const items = Array.from({ length: n }, () => this.pop()).reverse();
    return this.contained(Object.freeze(items));
  }
  private list(): PickleValue[] {
    const list = this.top();
    if (!Array.isArray(list) || Object.isFrozen(list)) throw this.refused(`appending to ${describe(list)}`);
    return list;
  }
  private setItems(items: PickleValue[]): true {
    const dict = this.top();
    if (!(dict instanceof PickleDict)) throw this.refused(`setting items of ${describe(dict)}`);
    if (items.length % 2 !== 0) throw this.damaged('a key of a dict has no value');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]!;
      if (typeof key !== 'string' && typeof key !== 'number') {
        throw this.refused(`a dict key that is ${describe(key)}`);
      }
      dict.set(key, items[i + 1]!);
    }
    return true;
  }
  private remembered(index: number): PickleValue {
    const value = this.memo.get(index);
    if (value === undefined) throw this.damaged(`its pickle reads memo ${index}, which was never written`);
    return value;
  }

  private take(n: number): number {
    const start = this.at;
    if (n > this.bytes.length - start) throw this.damaged(`its pickle ends inside a value (byte ${start})`);
    this.at += n;
    return start;
  }
  private u8(): number {
    return this.bytes[this.take(1)]!;
  }
  private u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  private length8(): number {
    return Number(this.view.getBigUint64(this.take(8), true));
  }
  private raw(n: number): Uint8Array {
    const start = this.take(n);
    return this.bytes.slice(start, start + n);
  }
  private text(n: number): string {
    const start = this.take(n);
    return new TextDecoder().decode(this.bytes.subarray(start, start + n));
  }
  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw this.damaged('its pickle ends inside a name');
    const text = this.text(end - this.at);
    this.at++;
    return text;
  }
  /** Little-endian two's complement of n bytes. */
  private long(n: number): number | bigint {
    if (n > MOST_LONG_BYTES) throw this.refused(`an integer of ${n} bytes`);
    const start = this.take(n);
    const bytes = Buffer.from(this.bytes.subarray(start, start + n)).reverse();
    let value = n === 0 ? 0n : BigInt(`0x${bytes.toString('hex')}`);
    value = BigInt.asIntN(8 * n, value);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  private damaged(what: string): DataError {
    const { path } = this.options;
    return new DataError(`${path} is damaged: ${what}. Copy or download it again.`, { path });
  }
  private tooMuch(what: string): DataError {
    const { path } = this.options;
    return new DataError(
      `${path} is refused: its pickle has more than ${what}, which no file of this kind needs`,
      {
        path,
      },
    );
  }
  private refused(what: string): DataError {
    const { path } = this.options;
    return new DataError(
      `${path} is refused: its pickle asks for ${what}. Only ${this.options.content ?? 'tensors'}, dicts, lists, numbers and strings are read; nothing is imported or run. ` +
        `If you trust it, ${this.options.mend ?? 'load it in PyTorch and save its plain state dict'}`,
      { path, refused: what },
    );
  }
}
