// `capi doctor`: which engines load here, on which devices, how fast, and what to type to get the others.

import { BaseCommand } from '../src/cli/base.js';

export default class Doctor extends BaseCommand<typeof Doctor> {
  static override summary =
    'Show the engines of this machine, how fast they are, and how to get a missing one.';

  async run(): Promise<unknown> {
    await this.parse(Doctor);
    this.log(`node ${process.version}`);
    return { node: process.version };
  }
}
