// Names that stand twice in one object of a JSON text: JSON.parse keeps the last and says nothing.

/** The first key that some object of valid JSON names twice, escapes undone, or undefined. Linear in the text. */
export function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each object around, undefined for an array
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    if (character !== '"') continue;
    const end = closingQuote(json, at + 1);
    let after = end + 1;
    while (/\s/.test(json[after] ?? '')) after++;
    const keys = json[after] === ':' ? open.at(-1) : undefined;
    if (keys) {
      const text = json.slice(at, end + 1);
      const key: string = text.includes('\\') ? JSON.parse(text) : text.slice(1, -1);
      if (keys.has(key)) return key;
      keys.add(key);
    }
    at = end;
  }
  return undefined;
}

/** Where the string that began before `from` ends: at the first quote behind an even number of backslashes. */
function closingQuote(json: string, from: number): number {
  for (let at = json.indexOf('"', from); at >= 0; at = json.indexOf('"', at + 1)) {
    let slashes = 0;
    while (json[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at;
  }
  return json.length; // not valid JSON
}
