// Reading YAML that is not ours: a regular file of bounded size, plain data alone, and every refusal in one line.
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { shown } from '../base/text.js';
import { UsageError } from '../errors.js';

/** A config, grid or protocol is a page or two; a file beyond this is something else. */
const MOST_BYTES = 2 ** 20;
/** Times that an alias may be used, nested ones multiplied: a few lines can stand for gigabytes. */
const MOST_ALIASES = 100;

/**
 * The value of a YAML file: mappings, lists, text, numbers, booleans and null.
 * @param what the file is meant to be, for messages ("config file")
 * @throws UsageError for anything but a readable file of YAML without tags and with each key once
 */
export function readYaml(file: string, what: string): unknown {
  const text = readText(file, what);
  return yamlValue(text, shown(file));
}

/** The same of a text; `origin` begins the message. @throws UsageError */
export function yamlValue(text: string, origin: string): unknown {
  const refuse = (why: string): UsageError => new UsageError(`${origin} is not YAML: ${shown(why)}`);
  try {
    const document = parseDocument(text, { logLevel: 'error' }); // prints nothing; `silent` would pass over a second document
    const fault = document.errors[0] ?? document.warnings[0];
    if (fault) throw refuse(reason(fault));
    const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES });
    if (hasPrototype(value)) throw refuse('it has the key __proto__, which is no setting');
    return plain(value);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof RangeError) throw refuse('it is nested too deeply, or holds itself');
    const aliases = /alias/i.test((error as Error).message);
    throw refuse(aliases ? 'its aliases (*name) stand for too much, or for themselves' : reason(error));
  }
}

const hasPrototype = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (Object.hasOwn(value, '__proto__') || Object.values(value).some(hasPrototype));

function readText(file: string, what: string): string {
  try {
    const found = statSync(file);
    if (!found.isFile()) {
      const kind = found.isDirectory() ? 'a folder' : 'no regular file';
      throw new UsageError(`cannot read ${what} ${shown(file)}: it is ${kind}`, { file });
    }
    const bytes = Buffer.alloc(MOST_BYTES + 1);
    const handle = openSync(file, 'r');
    let size = 0;
    try {
      for (let n = 1; n > 0 && size < bytes.length; size += n)
        n = readSync(handle, bytes, size, bytes.length - size, null);
    } finally {
      closeSync(handle);
    }
    if (size > MOST_BYTES)
      throw new UsageError(`cannot read ${what} ${shown(file)}: it is larger than 1 MiB`, { file });
    return bytes.toString('utf8', 0, size);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read ${what} ${shown(file)}: ${shown(reason(error))}`, { file });
  }
}

const reason = (error: unknown): string => (error as Error).message.split('\n')[0]!.replace(/:$/, '');

/** -0 is 0: no setting tells them apart, but a label would. */
function plain(value: unknown): unknown {
  if (typeof value === 'number') return value === 0 ? 0 : value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}
