// Names that stand twice in one object of a JSON text: JSON.parse keeps the last and says nothing.

/** The first key that some object of valid JSON names twice, escapes undone, or undefined. Linear in the text. */
export function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each object around, undefined for an array
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]]/g;
  const colon = /\s*:/y;
  for (let found = token.exec(json); found; found = token.exec(json)) {
    const [text] = found;
    if (text === '{') open.push(new Set());
    else if (text === '[') open.push(undefined);
    else if (text === '}' || text === ']') open.pop();
    else {
      colon.lastIndex = token.lastIndex;
      if (!colon.test(json)) continue;
      const key: string = text.includes('\\') ? JSON.parse(text) : text.slice(1, -1);
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
