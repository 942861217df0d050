// Tries bad inputs and faults (files, labels, checkpoints, processes, disks) on the built command; see README.md beside this file.

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { runner } from './capi.js';
import * as make from './make.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    part: { type: 'string', default: 'all' },
    jobs: { type: 'string', default: `${Math.min(2, cpus().length)}` },
    slack: { type: 'string', default: '1' },
    capi: { type: 'string', default: fileURLToPath(new URL('../../dist/src/main.js', import.meta.url)) },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const slack = Number(flags.slack); // on a busy machine: times that many seconds
const SECONDS = 30;
const MEGABYTES = 1500;

const folder = new URL('./cases/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.js'));
const only = new RegExp(flags.only, 'i');
const chosen = [];
for (const file of files.sort()) {
  const { part, cases } = await import(pathToFileURL(join(fileURLToPath(folder), file)).href);
  const names = new Set();
  for (const one of cases) {
    if (names.has(one.name)) throw new Error(`${part} has two cases called '${one.name}'`);
    names.add(one.name);
    const label = `${part}: ${one.name}`;
    if (only.test(label) && (flags.part === 'all' || (flags.part === 'ci' && one.ci))) {
      chosen.push({ ...one, label });
    }
  }
}

const base = mkdtempSync(join(tmpdir(), 'capi-faults-'));
const outcomes = [];
let next = 0;
const worker = async () => {
  while (next < chosen.length) {
    const at = next++;
    const outcome = await attempt(chosen[at], join(base, `${at}`));
    outcomes.push(outcome);
    if (!flags.json && (outcome.wrong.length > 0 || flags.verbose)) {
      console.log(
        `${outcome.wrong.length === 0 ? 'held  ' : 'FAILED'} ${outcome.label} (${outcome.seconds.toFixed(1)} s)`,
      );
      for (const line of outcome.wrong) console.log(`         ${line}`);
      if (flags.verbose || outcome.wrong.length > 0) console.log(`         said: ${outcome.said}`);
    }
  }
};
await Promise.all(Array.from({ length: Number(flags.jobs) }, worker));
if (!flags.keep) rmSync(base, { recursive: true, force: true });

const failed = outcomes.filter(({ wrong }) => wrong.length > 0);
if (flags.json)
  console.log(
    JSON.stringify({ tried: outcomes.length, held: outcomes.length - failed.length, failed }, null, 1),
  );
else
  console.log(`${outcomes.length} tried, ${outcomes.length - failed.length} held, ${failed.length} failed`);
process.exitCode = failed.length > 0 || outcomes.length === 0 ? 1 : 0;

/** Runs one case; `wrong` holds a sentence for everything that is not as it must be. */
async function attempt(one, dir) {
  mkdirSync(dir, { recursive: true });
  const within = (one.within ?? SECONDS) * slack;
  const capi = runner({ main: flags.capi, dir, limit: within });
  const wrong = [];
  let result;
  const begin = performance.now();
  try {
    await one.make?.({ dir, make, capi });
    result = typeof one.run === 'function' ? await one.run({ dir, make, capi }) : await capi(one.run);
    if (result) judge(one, result, within, wrong);
    const more = await one.check?.({ dir, make, capi, result });
    if (more !== undefined) wrong.push(more);
  } catch (error) {
    wrong.push(`the case itself failed: ${error.stack}`);
  }
  const lines = `${result?.stderr ?? ''}`.trim().split('\n');
  const said = (lines.findLast((line) => line.startsWith('error')) ?? lines.at(-1) ?? '').slice(0, 400);
  if (!flags.keep) rmSync(dir, { recursive: true, force: true });
  return { label: one.label, wrong, said, seconds: (performance.now() - begin) / 1000 };
}

function judge(one, { code, signal, stdout, stderr, seconds, megabytes, timedOut }, within, wrong) {
  const codes = [one.code ?? 0].flat();
  if (timedOut) wrong.push(`it still ran after ${within} s`);
  else if (!codes.includes(code)) wrong.push(`exit ${code ?? signal}, expected ${codes.join(' or ')}`);
  if (megabytes > (one.megabytes ?? MEGABYTES)) wrong.push(`${Math.round(megabytes)} MB of memory`);
  if (seconds > within) wrong.push(`${seconds.toFixed(1)} s`);
  const all = `${stdout}\n${stderr}`;
  if (/^ {4}at /m.test(all)) wrong.push('a stack trace');
  if (/\(unexpected/.test(all)) wrong.push('an error that nobody expected');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a name from outside must not reach the terminal raw
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u0085\u202e]/.test(all))
    wrong.push('a control character in the output');
  if (code !== 0 && code !== null && code !== 130) {
    const errors = stderr.split('\n').filter((line) => line.startsWith('error: '));
    if (errors.length !== 1) wrong.push(`${errors.length} error lines`);
    if (one.says && !one.says.test(errors[0] ?? '')) wrong.push(`the error does not say ${one.says}`);
  } else if (one.says && !one.says.test(all)) wrong.push(`it does not say ${one.says}`);
  if (one.not?.test(all)) wrong.push(`it says ${one.not}`);
}
