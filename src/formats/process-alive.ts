import { readFileSync } from 'node:fs';

/** Does a process of this id run? One that belongs to somebody else does; one that died and was not buried does not. */
export function isAlive(id: number): boolean {
  if (!Number.isInteger(id) || id <= 0) return false;
  try {
    process.kill(id, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
  return !isZombie(id);
}

/** Linux tells the state behind the name in parentheses: Z for zombies, X for the dead. Elsewhere nobody is one. */
function isZombie(id: number): boolean {
  try {
    return /^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${id}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
