// capi data cache: what the feature store holds, and removing some of it.
import { Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { columns } from '../../src/cli/table.js';
import { UsageError } from '../../src/errors.js';
import type { StoreEntry } from '../../src/features/store.js';

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
    const { defaultStoreFolder, listStore, pruneStore } = await import('../../src/features/store.js');
    const folder = defaultStoreFolder();
    const { prune: names, older, 'dry-run': dryRun } = flags;
    const keep = flags.keep === undefined ? undefined : Number(flags.keep);
    if (keep !== undefined && !(keep >= 0)) {
      throw new UsageError(`--keep is ${flags.keep}; accepted: gigabytes from 0, such as 20 or 0.5`);
    }
    const entries = await listStore(folder);
    const unknown = names?.find((name) => !entries.some((entry) => entry.name === name));
    if (unknown !== undefined)
      throw new UsageError(`${folder} has no entry ${unknown}; capi data cache lists them`);
    if (!names && older === undefined && keep === undefined) {
      if (dryRun) throw new UsageError('--dry-run needs --prune, --older or --keep');
      if (entries.length > 0) this.log(listed(entries));
      this.log(`${entries.length} entries, ${megabytes(total(entries))} MB in ${folder}`);
      return { folder, bytes: total(entries), entries };
    }
    const chosen = {
      ...(names ? { names } : {}),
      ...(older === undefined ? {} : { usedBefore: new Date(Date.now() - older * 86_400_000) }),
      ...(keep === undefined ? {} : { keepBytes: keep * 1e9 }),
    };
    const { removed, busy } = await pruneStore(folder, chosen, dryRun);
    if (removed.length > 0) this.log(listed(removed));
    const verb = dryRun ? 'would be removed' : 'removed';
    this.log(`${removed.length} entries ${verb}, ${megabytes(total(removed))} MB`);
    for (const { name } of busy) this.log(`${name} is being computed: left alone`);
    return { folder, dry_run: dryRun, removed, busy };
  }
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const total = (entries: readonly StoreEntry[]): number => entries.reduce((sum, { bytes }) => sum + bytes, 0);

function listed(entries: readonly StoreEntry[]): string {
  const rows = entries.map(({ name, kind, title, images, bytes, complete, used }) => [
    name,
    kind,
    `${images}`,
    megabytes(bytes),
    used.toISOString().slice(0, 10),
    complete ? title : `${title} (not finished)`,
  ]);
  return columns([['name', 'kind', 'images', 'MB', 'used', 'what'], ...rows]);
}
