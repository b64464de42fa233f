/**
 * The program of a worker thread. Threads run JavaScript: from the TypeScript sources (tests), it is taken from the
 * build.
 * @param name path below src/, ending in .js.
 */
export function workerFile(name: string): URL {
  const here = new URL('.', import.meta.url);
  return new URL(name, import.meta.url.endsWith('.ts') ? new URL('../dist/', here) : here);
}
