// Comma-separated values read back as RFC 4180 says: quotes, doubled quotes, line breaks inside of them.

/** Rows by the names of the first line. */
export function readCsv(text: string): Record<string, string>[] {
  const rows: string[][] = [[]];
  for (let at = 0; at < text.length; ) {
    const [whole, quoted, plain, end] = /^(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/.exec(text.slice(at))!;
    rows.at(-1)!.push(quoted === undefined ? plain! : quoted.replaceAll('""', '"'));
    at += whole.length;
    if (end === '\n' && at < text.length) rows.push([]);
  }
  const [head, ...lines] = rows as [string[], ...string[][]];
  return lines.map((line) => Object.fromEntries(head.map((name, i) => [name, line[i]!])));
}
