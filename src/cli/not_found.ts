// oclif hook: a command that does not exist is a usage error that names the nearest one.

import type { Hook } from '@oclif/core';
import { nearest } from '../config/nearest.js';
import { UsageError } from '../errors.js';

const commandNotFound: Hook.CommandNotFound = async ({ id, argv, config }) => {
  const known = config.commands
    .filter((command) => !command.hidden)
    .map((command) => command.id.replaceAll(':', ' '));
  const words = [...id.split(':'), ...(argv ?? [])];
  if (words.slice(0, 2).join(' ') === 'bench learned') {
    throw new UsageError(
      'capi bench learned is gone: capi eval seg RUN --floors --train SOURCE --test SOURCE compares a run with its untrained self',
    );
  }
  const distinct = [...new Set(known.map((name) => name.split(' ').length))];
  const typed = distinct.map((length) => words.slice(0, length).join(' '));
  const guess = typed.map((text) => nearest(text, known)).find((found) => found !== undefined);
  const hint = guess === undefined ? '' : `; did you mean "capi ${guess}"?`;
  throw new UsageError(`unknown command "capi ${id.replaceAll(':', ' ')}"${hint} (capi --help lists all)`);
};

export default commandNotFound;
