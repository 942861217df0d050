// capi data cache: what the feature store holds, and removing some of it.
import { Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class DataCache extends BaseCommand<typeof DataCache> {
  static override summary = 'List stored features, and remove those that are not needed.';
  static override description =
    'capi eval keeps the features of frozen encoders in ~/.cache/capi (CAPI_CACHE names another folder), so that a second evaluation computes nothing again. ' +
    'Nothing is removed unless it is chosen: by name, by age, or down to a size, least recently used first. Entries that an evaluation is computing now stay.';
  static override examples = [
    '<%= config.bin %> data cache',
    '<%= config.bin %> data cache --keep 20 --older 30',
    '<%= config.bin %> data cache --prune 0123456789abcdef01234567',
  ];
  static override flags = {
    prune: Flags.string({
      description: 'remove this entry (repeatable)',
      helpValue: 'NAME',
      multiple: true,
      multipleNonGreedy: true,
    }),
    older: Flags.integer({
      description: 'remove entries not used for so many days',
      helpValue: 'DAYS',
      min: 0,
    }),
    keep: Flags.string({ description: 'remove entries until at most so many GB are left', helpValue: 'GB' }),
    'dry-run': Flags.boolean({ description: 'say what would be removed, and stop' }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(DataCache);
    const { runCache } = await import('../../src/cli/run_cache.js');
    return runCache(flags, (text) => this.log(text));
  }
}
