// Builds the command into a fresh folder that then takes the place of dist, so that dist is never half built or stale.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const fresh = `${root}.build-${process.pid}`;
const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const node = (...args) =>
  execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

try {
  node(compiler, '-p', 'tsconfig.build.json', '--outDir', fresh);
  chmodSync(`${fresh}/src/main.js`, 0o755);
  rmSync(`${root}dist`, { recursive: true, force: true });
  renameSync(fresh, `${root}dist`);
  writeFileSync(`${root}dist/help.txt`, node('dist/src/main.js', '--help')); // see src/cli/quick_help.ts
  linkCommand();
} catch (error) {
  process.stderr.write(error.stdout || `${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

/** Makes `npx capi` work in the checkout: npm links the commands of dependencies, but not the package's own. */
function linkCommand() {
  const link = `${root}node_modules/.bin/capi`;
  if (process.platform === 'win32' || !existsSync(`${root}node_modules/.bin`)) return;
  rmSync(link, { force: true });
  symlinkSync('../../dist/src/main.js', link);
}
