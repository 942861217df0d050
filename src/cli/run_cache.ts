// What `capi data cache` does and prints.
import { UsageError } from '../errors.js';
import { defaultStoreFolder, listStore, pruneStore, type StoreEntry } from '../features/store.js';
import { columns } from './table.js';

export interface CacheFlags {
  prune?: string[];
  older?: number;
  keep?: string;
  'dry-run': boolean;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const total = (entries: readonly StoreEntry[]): number => entries.reduce((sum, { bytes }) => sum + bytes, 0);

/** Lists the store, or removes what the flags choose. Returns what --json prints. @throws UsageError for an unknown name or size */
export async function runCache(flags: CacheFlags, log: (text: string) => void): Promise<object> {
  const folder = defaultStoreFolder();
  const keep = flags.keep === undefined ? undefined : Number(flags.keep);
  if (keep !== undefined && !(keep >= 0)) {
    throw new UsageError(`--keep is ${flags.keep}; accepted: gigabytes from 0, such as 20 or 0.5`);
  }
  const entries = await listStore(folder);
  const unknown = flags.prune?.find((name) => !entries.some((entry) => entry.name === name));
  if (unknown !== undefined)
    throw new UsageError(`${folder} has no entry ${unknown}; capi data cache lists them`);
  if (!flags.prune && flags.older === undefined && keep === undefined) {
    if (flags['dry-run']) throw new UsageError('--dry-run needs --prune, --older or --keep');
    if (entries.length > 0) log(listed(entries));
    log(`${entries.length} entries, ${megabytes(total(entries))} MB in ${folder}`);
    return { folder, bytes: total(entries), entries };
  }
  const { removed, busy } = await pruneStore(
    folder,
    {
      ...(flags.prune ? { names: flags.prune } : {}),
      ...(flags.older === undefined ? {} : { usedBefore: new Date(Date.now() - flags.older * 86_400_000) }),
      ...(keep === undefined ? {} : { keepBytes: keep * 1e9 }),
    },
    flags['dry-run'],
  );
  if (removed.length > 0) log(listed(removed));
  const verb = flags['dry-run'] ? 'would be removed' : 'removed';
  log(`${removed.length} entries ${verb}, ${megabytes(total(removed))} MB`);
  for (const { name } of busy) log(`${name} is being computed: left alone`);
  return { folder, dry_run: flags['dry-run'], removed, busy };
}

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
