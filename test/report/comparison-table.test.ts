import { describe, expect, it } from 'vitest';
import type { ComparisonRow } from '../../src/comparison/comparison.js';
import { comparisonTable } from '../../src/report/comparison-table.js';

const dense = { perplexity: 10, standardError: 0.5, linearBytes: 2e6, linearWeights: 1e6 };
const row: ComparisonRow = {
  method: 'admm',
  sparsity: 0.5,
  perplexity: 12,
  standardError: 0.25,
  linearBytes: 1e6,
  nonzeros: 5e5,
  seconds: 4,
  factorizationSeconds: 3,
  resumed: false,
};

describe('comparisonTable', () => {
  it('puts rows beside the dense model', () => {
    expect(
      comparisonTable({ dense, rows: [row] })
        .split('\n')
        .at(-1),
    ).toMatch(/^0\.5 +admm +12\.00 +0\.25 +\+2\.00 +1\.0 MB +50\.0 % +4\.00 s +3\.00 s$/);
  });

  it('puts perplexities after fine-tuning behind those before', () => {
    const tuned = (perplexity: number, resumed = false) => ({ perplexity, standardError: 0.5, seconds: 60, resumed });
    const lines = comparisonTable({
      dense: { ...dense, tuned: tuned(9) },
      rows: [{ ...row, tuned: tuned(9.5) }],
      against: dense,
    }).split('\n');
    expect(lines[0]).toMatch(/over dense +fine-tuned +training +linear layers/);
    expect(lines.at(-4)).toMatch(/^0\.5 +admm +12\.00 +0\.25 +\+2\.00 +9\.50 +60\.\d s +1\.0 MB/);
  });

  it('marks the seconds of a row that was interrupted', () => {
    const table = comparisonTable({ dense, rows: [{ ...row, resumed: true }] });
    expect(table).toMatch(/4\.00 s \* +3\.00 s/);
    expect(table).toMatch(/\n\* interrupted: the seconds since it went on$/);
    const tuned = { perplexity: 9, standardError: 0.5, seconds: 60, resumed: true };
    expect(comparisonTable({ dense: { ...dense, tuned }, rows: [{ ...row, tuned }] })).toMatch(
      /9\.00 +60\.\d s \*[\s\S]*\n\* interrupted/,
    );
  });

  it('says which rows are better than a smaller dense model', () => {
    const table = comparisonTable({ dense, rows: [row], against: { ...dense, perplexity: 11, linearWeights: 5e5 } });
    expect(table).toContain('admm at 0.5: worse than the smaller dense model, with 1.00 x its weights');
  });
});
