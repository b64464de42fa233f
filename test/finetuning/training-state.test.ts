import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readState, type StateArrays, writeState } from '../../src/finetuning/training-state.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../formats/expect-error.js';
import { mutationsOf } from '../formats/mutations.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { fillRandom } from '../helpers.js';

const folder = temporaryFolder();
const arrays = (length: number, best = length): StateArrays => ({
  values: fillRandom(new Float32Array(length), 1),
  first: fillRandom(new Float32Array(length), 2),
  second: fillRandom(new Float32Array(length), 3),
  best: fillRandom(new Float32Array(best), 4),
});
const progress = { step: 7, bestLoss: 1.25, bestStep: 4, looksSince: 1 };
const path = join(folder, 'state.safetensors');

it('a checkpoint comes back bit for bit', () => {
  for (const best of [9, 0]) {
    const written = arrays(9, best);
    writeState(path, progress, written);
    const read: StateArrays = {
      values: new Float32Array(9),
      first: new Float32Array(9),
      second: new Float32Array(9),
      best: new Float32Array(best),
    };
    expect(readState(path, read)).toEqual(progress);
    for (const name of ['values', 'first', 'second', 'best'] as const) expect(read[name]).toHaveSameBits(written[name]);
  }
  expect(readState(join(folder, 'absent'), arrays(9))).toBeUndefined();
});

it('one of another model is refused', () => {
  writeState(path, progress, arrays(9));
  expect(errorOf(() => readState(path, arrays(8)), 'file-malformed').message).toContain('shape [9], not 8 values');
});

it('a damaged one is a typed error', () => {
  writeState(path, progress, arrays(9));
  const bytes = readFileSync(path);
  const damaged = join(folder, 'damaged.safetensors');
  withBoundedMemory(() =>
    fc.assert(
      fc.property(mutationsOf(bytes), (mutated) => {
        writeFileSync(damaged, mutated);
        const read = arrays(9);
        onlyTypedErrors(() => {
          try {
            readState(damaged, read);
          } catch (error) {
            for (const name of ['values', 'first', 'second', 'best'] as const)
              expect(read[name]).toHaveSameBits(arrays(9)[name]);
            expect(error).toMatchObject({ code: 'file-malformed', hint: expect.stringContaining('--force') });
            throw error;
          }
        });
      }),
      { numRuns: 300 },
    ),
  );
});
