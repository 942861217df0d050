// Commands as one types them: for records and pages that say where they came from, and for scripts.

/** A word as a POSIX shell takes it. */
export const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** A capi command with these arguments: what a shell would take apart is quoted. */
export const commandLine = (args: readonly string[]): string => ['capi', ...args].map(quoted).join(' ');
