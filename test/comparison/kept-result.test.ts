import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { engineOfResult, KeptResult } from '../../src/comparison/kept-result.js';
import { DoubleSparseError } from '../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-kept-result-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = join(folder, 'row.json');
const schema = z.object({ perplexity: z.number() });
const fingerprint = { engine: 'wasm', seed: 0, parallelism: [2, 1] };
const open = (own: Readonly<Record<string, unknown>> = fingerprint, restart = false) =>
  new KeptResult(path, own, schema, restart);

describe('a kept result', () => {
  it('is there again for the same fingerprint, with every bit', () => {
    expect(open().value).toBeUndefined();
    const value = { perplexity: 57.27633454242905 };
    open().keep(value);
    expect(open().value).toEqual(value);
    expect(engineOfResult(path)).toBe('wasm');
  });

  it('is refused for another one with the differences named, or computed anew when told so', () => {
    open().keep({ perplexity: 1 });
    expect(() => open({ ...fingerprint, seed: 1 })).toThrow(/seed was 0, now 1/);
    expect(open({ ...fingerprint, seed: 1 }, true).value).toBeUndefined();
    open().discard();
    expect(open({ ...fingerprint, seed: 1 }).value).toBeUndefined();
    expect(engineOfResult(path)).toBeUndefined();
  });

  it('of a damaged file is a typed error', () => {
    const anything = fc.oneof(
      fc.string(),
      fc.json(),
      fc.json().map((result) => `{"fingerprint":${JSON.stringify(fingerprint)},"result":${result}}`),
    );
    fc.assert(
      fc.property(anything, (content) => {
        writeFileSync(path, content);
        try {
          expect(typeof open().value?.perplexity).toBe('number');
        } catch (error) {
          expect(error).toBeInstanceOf(DoubleSparseError);
        }
      }),
    );
  });
});
