import { threadsStarted } from '../worker-pool.js';

/** Ends the process with exit code 130 at Ctrl-C. @param last what is done and said before. */
export function endOnInterrupt(last: () => void): void {
  process.once('SIGINT', () => endInterrupted(last));
}

/** The same for now. A second Ctrl-C ends the process in any case, if nothing else listens to it. */
export async function endInterrupted(last: () => void): Promise<void> {
  await threadsStarted();
  last();
  process.exit(130);
}
