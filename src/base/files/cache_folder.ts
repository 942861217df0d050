// Where capi keeps what it can make again: features, and digests of files.

import { homedir } from 'node:os';
import { join } from 'node:path';

/** `CAPI_CACHE`, else `capi` in the user's cache folder. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return process.env.CAPI_CACHE || join(base, 'capi');
}
