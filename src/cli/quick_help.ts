// `capi --help` without loading oclif (whose modules alone take 0.15 s): the text that the build wrote to dist/help.txt.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const dist = new URL('../../', import.meta.url);

/**
 * The help of `capi` without arguments, `capi --help` and `capi help`.
 * @returns undefined for any other arguments, and when the copy may be stale: a command or package.json changed after
 *   it was written, it was written by another version of Node, or the terminal is narrower than its 80 columns
 */
export function quickHelp(argv: string[]): string | undefined {
  if (argv.length > 1 || !['--help', 'help', undefined].includes(argv[0])) return undefined;
  if ((process.stdout.columns ?? 80) < 80) return undefined;
  try {
    const file = new URL('help.txt', dist);
    const written = statSync(file).mtimeMs;
    const text = readFileSync(file, 'utf8');
    const system = `${process.platform}-${process.arch} node-${process.version}\n`;
    return text.includes(system) && newestSource() <= written ? text : undefined;
  } catch {
    return undefined; // not built, or half built: oclif answers
  }
}

/** Time of the last change of any command or of package.json, in ms. Directories count: a deleted command changes them. */
function newestSource(): number {
  const commands = fileURLToPath(new URL('commands', dist));
  const entries = readdirSync(commands, { recursive: true, encoding: 'utf8' }).map(
    (name) => `${commands}/${name}`,
  );
  const files = [...entries, commands, fileURLToPath(new URL('../package.json', dist))];
  return Math.max(...files.map((file) => statSync(file).mtimeMs));
}
