import type { Comparison } from '../comparison/comparison.js';
import { formatBytes, formatSeconds, renderTable, resumedNote, secondsCell } from './table.js';

/** The table of a comparison, dense first; then, for a smaller model, the paper's question and its answer. */
export function comparisonTable({ dense, against, rows }: Comparison): string {
  const cell = (value: number): string => value.toFixed(value < 1000 ? 2 : 0);
  // Two more columns behind the perplexity before, where models were fine-tuned.
  const anyTuned = dense.tuned !== undefined;
  const tunedCells = (tuned: Comparison['dense']['tuned']): string[] => {
    if (!anyTuned) return [];
    return tuned ? [cell(tuned.perplexity), secondsCell(tuned)] : ['', ''];
  };
  const table = renderTable(
    [
      'sparsity',
      'method',
      'perplexity',
      '±',
      'over dense',
      ...(anyTuned ? ['fine-tuned', 'training'] : []),
      'linear layers',
      'of dense',
      'seconds',
      'factorising',
    ],
    [
      [
        '0',
        'dense',
        cell(dense.perplexity),
        cell(dense.standardError),
        '',
        ...tunedCells(dense.tuned),
        formatBytes(dense.linearBytes),
        '100 %',
        '',
        '',
      ],
      ...rows.map((row) => [
        String(row.sparsity),
        row.method,
        cell(row.perplexity),
        cell(row.standardError),
        `+${cell(row.perplexity - dense.perplexity)}`,
        ...tunedCells(row.tuned),
        formatBytes(row.linearBytes),
        `${((100 * row.linearBytes) / dense.linearBytes).toFixed(1)} %`,
        secondsCell(row),
        formatSeconds(row.factorizationSeconds),
      ]),
      ...(against
        ? [
            [
              '',
              'dense, smaller model',
              cell(against.perplexity),
              cell(against.standardError),
              '',
              ...tunedCells(undefined),
              formatBytes(against.linearBytes),
              '',
              '',
              '',
            ],
          ]
        : []),
    ],
  );
  const resumedAny = [dense.tuned, ...rows, ...rows.map(({ tuned }) => tuned)].some((each) => each?.resumed);
  const notes = resumedAny ? ['', resumedNote] : [];
  if (!against) return [table, ...notes].join('\n');
  const verdicts = rows.map((row) => {
    const weights = row.nonzeros / against.linearWeights;
    const better = row.perplexity < against.perplexity;
    return `${row.method} at ${row.sparsity}: ${better ? 'better' : 'worse'} than the smaller dense model, with ${weights.toFixed(2)} x its weights`;
  });
  return [table, ...notes, '', ...verdicts].join('\n');
}
