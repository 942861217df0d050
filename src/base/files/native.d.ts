// Types of the one call that we use of fs-native-extensions, which brings none.

declare module 'fs-native-extensions' {
  /** Locks an open file, whole by default, for this open file description; false where another has it. Throws the system's errors. */
  export function tryLock(
    fd: number,
    offset?: number,
    length?: number,
    options?: { shared?: boolean },
  ): boolean;
  const api: { tryLock: typeof tryLock };
  export default api;
}
