// Help: the quick copy says what oclif says, gives way when it may be stale, and every command is in it.

import { readFileSync, utimesSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { sourceFiles } from '../support/imports.js';
import { capi, root } from './capi.js';

const built = (path: string) => import(pathToFileURL(`${root}dist/src/cli/${path}`).href);

describe('capi --help', () => {
  it('answers from the copy of the build, with the words of oclif', async () => {
    const { quickHelp } = await built('quick_help.js');
    const copy = quickHelp(['--help']);
    expect(copy).toBeTypeOf('string');
    expect(quickHelp([])).toBe(copy);
    expect(quickHelp(['help'])).toBe(copy);
    const slow = capi(['--help', '--help']); // two words: not the quick way
    expect(slow.code).toBe(0);
    expect(slow.stdout).toBe(copy);
    expect(capi([]).stdout).toBe(copy);
  });

  it('names every command or its topic', () => {
    const { stdout } = capi(['--help']);
    for (const file of sourceFiles('commands')) {
      const name = file.split('/')[1]!.replace(/\.ts$/, '');
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
  });

  it('leaves the copy when a command is newer', async () => {
    const { quickHelp } = await built('quick_help.js');
    const command = `${root}dist/commands/doctor.js`;
    const now = new Date();
    utimesSync(command, now, new Date(now.getTime() + 60_000));
    expect(quickHelp(['--help'])).toBeUndefined();
    expect(capi(['--help']).stdout).toMatch(/^ {2}doctor /m);
    utimesSync(command, now, new Date(0));
    expect(quickHelp(['--help'])).toBeTypeOf('string');
  });

  it('of one command shows its flags', () => {
    const { code, stdout } = capi(['doctor', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--json');
  });
});

describe('the manifest of the build', () => {
  it('has the commands of the checkout and no other', () => {
    const { commands } = JSON.parse(readFileSync(`${root}oclif.manifest.json`, 'utf8'));
    const ids = sourceFiles('commands').map((file) =>
      file
        .replace(/^commands\//, '')
        .replace(/(\/index)?\.ts$/, '')
        .replaceAll('/', ':'),
    );
    expect(Object.keys(commands).sort()).toEqual(ids.sort());
  });

  it('spares a command the modules of the others, and its help all of them', () => {
    const hook = `import { writeSync } from 'node:fs';
      export function load(url, context, next) {
        const command = /dist.commands.(.*)\\.js$/.exec(url);
        if (command) writeSync(2, 'loads ' + command[1] + '\\n');
        return next(url, context);
      }`;
    const url = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
    const register = `import { register } from 'node:module'; register(${JSON.stringify(url(hook))});`;
    const loaded = (...args: string[]): string[] =>
      capi(args, { NODE_OPTIONS: `--import=${url(register)}` }).stderr.match(/(?<=^loads ).*/gm) ?? [];
    expect(loaded('eval', 'cls', '--help')).toEqual([]);
    expect(loaded('data', 'list')).toEqual(['data/list']);
  });
});

it('capi --version names the version of package.json', () => {
  expect(capi(['--version']).stdout).toMatch(/^capi\/\d+\.\d+\.\d+ /);
});
