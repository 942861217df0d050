// Compiles src/images/decode/resample.wat into src/images/decode/resample_wasm.ts: `node scripts/build-wasm.js`; with --check it says whether they agree.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import wabt from 'wabt';

const file = (name) => fileURLToPath(new URL(`../src/images/decode/${name}`, import.meta.url));
const { parseWat } = await wabt();
const module = parseWat('resample.wat', readFileSync(file('resample.wat'), 'utf8'), { simd: true });
const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64');
const text = `// Made from resample.wat by scripts/build-wasm.js: change that file, not this one.

/** The WebAssembly module in base64. */
export const RESAMPLE_WASM =
  '${base64}';
`;
if (!process.argv.includes('--check')) writeFileSync(file('resample_wasm.ts'), text);
else if (readFileSync(file('resample_wasm.ts'), 'utf8') !== text) {
  process.stderr.write(
    'src/images/decode/resample_wasm.ts is not what src/images/decode/resample.wat compiles to: node scripts/build-wasm.js\n',
  );
  process.exitCode = 1;
}
