// Our contender: not yet here, it follows.
import type { Prepare } from './handlers.js';
export const prepare: Prepare = async () => ({ facts: { threads: 1, versions: {} }, handlers: {} });
