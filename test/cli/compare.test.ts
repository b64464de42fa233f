import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Comparison } from '../../src/compression/compare-models.js';
import { dsf, root } from './run-dsf.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-compare-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(root, 'models/sotu-m');
const small = ['--effort', 'fast', '--samples', '8', '--seq-len', '128', '--windows', '8'];

describe('dsf compare', () => {
  it('puts methods, sparsities, the dense model and a smaller one side by side', { timeout: 120_000 }, () => {
    const keep = join(folder, 'kept');
    const methods = ['--methods', 'double-sparse,magnitude', '--sparsities', '0.5,0.9', '--include', '*mlp*'];
    const { status, stdout } = dsf(
      'compare',
      model,
      ...methods,
      ...small,
      '--against',
      model,
      '--keep',
      keep,
      '--json',
    );
    expect(status).toBe(0);
    const { dense, against, rows } = JSON.parse(stdout) as Comparison;
    expect(against).toEqual(dense);
    expect(rows.map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual([
      'double-sparse 0.5',
      'magnitude 0.5',
      'double-sparse 0.9',
      'magnitude 0.9',
    ]);
    for (const { perplexity, linearBytes, nonzeros } of rows) {
      expect(perplexity).toBeGreaterThan(1);
      // The attention's weights stay dense and are counted.
      expect(nonzeros).toBeGreaterThan(0.25 * dense.linearWeights);
      expect(linearBytes).toBeLessThan(dense.linearBytes);
    }
    expect(rows[2]?.perplexity).toBeLessThan(rows[3]?.perplexity ?? 0);
    expect(existsSync(join(keep, 'magnitude-0.9', 'config.json'))).toBe(true);
  });

  it('refuses what cannot all be run before it runs anything', () => {
    const refused = dsf('compare', model, '--methods', 'double-sparse,admm', '--fixed-mask', ...small);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringMatching(/fixed mask belongs to double-sparse/) });
    expect(dsf('compare', model, '--sparsities', '0.5,', ...small).status).toBe(2);
  });
});

describe('dsf doctor', () => {
  it('tells what the machine has', { timeout: 60_000 }, () => {
    const { status, stdout } = dsf('doctor', '--json');
    expect(status).toBe(0);
    const { engines } = JSON.parse(stdout) as { engines: { name: string; available: boolean; chosen: boolean }[] };
    expect(engines.filter(({ chosen }) => chosen)).toHaveLength(1);
    expect(engines.find(({ name }) => name === 'wasm')?.available).toBe(true);
  });
});
