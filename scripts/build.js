// Builds the command into a fresh folder that then takes the place of dist, so that dist is never half built or stale; beside it oclif.manifest.json,
// from which oclif knows the commands without loading them.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Plugin, settings } from '@oclif/core';

const root = fileURLToPath(new URL('..', import.meta.url));
const fresh = `${root}.build-${process.pid}`;
const manifest = `${root}oclif.manifest.json`;
const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const node = (...args) =>
  execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

try {
  node(compiler, '-p', 'tsconfig.build.json', '--noEmit', 'false', '--outDir', fresh);
  chmodSync(`${fresh}/src/main.js`, 0o755);
  rmSync(manifest, { force: true }); // no manifest is slower, that of another dist would be wrong
  rmSync(`${root}dist`, { recursive: true, force: true });
  renameSync(fresh, `${root}dist`);
  await writeManifest();
  writeFileSync(`${root}dist/help.txt`, node('dist/src/main.js', '--help')); // see src/cli/quick_help.ts
  linkCommand();
} catch (error) {
  process.stderr.write(error.stdout || `${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

/** The commands of dist with their flags, as `oclif manifest` writes them. */
async function writeManifest() {
  settings.enableAutoTranspile = false; // read what was built
  const plugin = new Plugin({ errorOnManifestCreate: true, ignoreManifest: true, root, type: 'core' });
  await plugin.load();
  writeFileSync(`${manifest}.${process.pid}`, `${JSON.stringify(plugin.manifest, null, 1)}\n`);
  renameSync(`${manifest}.${process.pid}`, manifest);
}

/** Makes `npx capi` work in the checkout: npm links the commands of dependencies, but not the package's own. */
function linkCommand() {
  const link = `${root}node_modules/.bin/capi`;
  if (process.platform === 'win32' || !existsSync(`${root}node_modules/.bin`)) return;
  rmSync(link, { force: true });
  symlinkSync('../../dist/src/main.js', link);
}
