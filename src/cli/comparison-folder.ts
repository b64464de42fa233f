import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ComparisonPlace } from '../comparison/comparison.js';
import { endOnInterrupt } from './interrupt.js';
import { commandLine, say } from './terminal.js';

/**
 * Compares in the folder of `--keep`, or in a temporary one that goes afterwards, also at Ctrl-C.
 * @param kept what an interrupted comparison leaves in the folder.
 */
export async function inComparisonFolder(
  keep: string | undefined,
  kept: string,
  compare: (place: ComparisonPlace) => Promise<void>,
): Promise<void> {
  const folder = keep ?? mkdtempSync(join(tmpdir(), 'dsf-compare-'));
  const removeTemporary = (): void => {
    if (keep === undefined) rmSync(folder, { recursive: true, force: true });
  };
  endOnInterrupt(() => {
    removeTemporary();
    if (keep !== undefined) say(`interrupted; ${kept} are kept in ${keep}. To go on:\n  ${commandLine()}`);
  });
  try {
    await compare({ folder, keepModels: keep !== undefined });
  } finally {
    removeTemporary();
  }
}
