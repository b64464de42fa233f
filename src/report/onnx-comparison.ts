import type {
  CnnComparison,
  CnnComparisonEvent,
  CnnComparisonRow,
  CnnFailedRow,
} from '../comparison/onnx-comparison.js';
import type { ImageEvaluation } from '../evaluation/evaluate-images.js';
import { formatSameClass } from './image-evaluation.js';
import { formatCount } from './onnx-compression.js';
import { formatBytes, formatError, formatSeconds, renderTable, resumedNote, secondsCell } from './table.js';

/** The table of a comparison, dense first: accuracy where there are labels, and outputs next to the dense ones. */
export function cnnComparisonTable({ dense, rows, failed, peakMemoryBytes }: CnnComparison): string {
  const top1 = dense.evaluation.accuracy?.top1;
  const accuracyCells = ({ accuracy }: ImageEvaluation): string[] => {
    if (top1 === undefined || accuracy === undefined) return [];
    return [
      (100 * accuracy.top1).toFixed(2),
      (100 * accuracy.standardError).toFixed(2),
      (100 * (top1 - accuracy.top1)).toFixed(2),
    ];
  };
  // Two more columns, where models were fine-tuned: of accuracy, else of the cosine.
  const anyTuned = dense.tuned !== undefined;
  const tunedCells = (tuned: CnnComparison['dense']['tuned']): string[] => {
    if (!anyTuned) return [];
    if (!tuned) return ['', ''];
    const { evaluation } = tuned;
    const [value = ''] = evaluation.accuracy ? accuracyCells(evaluation) : parityCells(evaluation);
    return [value, secondsCell(tuned)];
  };
  const classes = rows.some(({ evaluation }) => sameClass(evaluation) !== undefined);
  const part = (value: number, whole: number): string => `${((100 * value) / whole).toFixed(1)} %`;
  const table = renderTable(
    [
      'sparsity',
      'method',
      ...(top1 === undefined ? [] : ['top-1', '±', 'lost']),
      'cosine',
      'mean error',
      'largest',
      ...(classes ? ['same class'] : []),
      ...(anyTuned ? ['fine-tuned', 'training'] : []),
      'file',
      'of dense',
      'multiply-adds',
      'of dense',
      'seconds',
      'layers',
    ],
    [
      [
        '0',
        'dense',
        ...accuracyCells(dense.evaluation),
        '',
        '',
        '',
        ...(classes ? [''] : []),
        ...tunedCells(dense.tuned),
        formatBytes(dense.bytes),
        '100 %',
        formatCount(dense.multiplyAdds),
        '100 %',
        '',
        '',
      ],
      ...rows.map((row) => [
        String(row.sparsity),
        row.method,
        ...accuracyCells(row.evaluation),
        ...parityCells(row.evaluation),
        ...(classes ? [formatSameClass(sameClass(row.evaluation))] : []),
        ...tunedCells(row.tuned),
        formatBytes(row.bytes),
        part(row.bytes, dense.bytes),
        formatCount(row.multiplyAdds),
        part(row.multiplyAdds, dense.multiplyAdds),
        formatSeconds(row.seconds),
        layersText(row),
      ]),
    ],
  );
  const memory = `peak memory, all rows together: ${formatBytes(peakMemoryBytes)}`;
  const resumed = [dense, ...rows].some(({ tuned }) => tuned?.resumed) ? [resumedNote] : [];
  return [table, ...failed.map(cnnFailedLine), '', ...resumed, memory].join('\n');
}

/** Of the worst output. */
function parityCells({ parity = {} }: ImageEvaluation): string[] {
  const all = Object.values(parity);
  const worst = (values: number[]): string => formatError(Math.max(...values));
  const cosine = Math.min(...all.map((each) => each.cosine));
  return [
    cosine.toFixed(5),
    worst(all.map((each) => each.meanRelative)),
    worst(all.map((each) => each.maximumRelative)),
  ];
}

/** Of the worst output that has classes. */
function sameClass({ parity = {} }: ImageEvaluation): number | undefined {
  const all = Object.values(parity).flatMap((each) => each.sameClass ?? []);
  return all.length === 0 ? undefined : Math.min(...all);
}

const layersText = ({ layers }: CnnComparisonRow): string =>
  Object.entries(layers)
    .map(([method, count]) => `${count} ${method}`)
    .join(', ');

export function denseLine({ evaluation, bytes }: CnnComparison['dense']): string {
  return `dense: ${accuracyText(evaluation)}${formatBytes(bytes)}`;
}

export function cnnRowLine({ method, sparsity, evaluation, bytes, seconds }: CnnComparisonRow): string {
  const [cosine] = parityCells(evaluation);
  return `${method} at ${sparsity}: ${accuracyText(evaluation)}cosine ${cosine}, ${formatBytes(bytes)}, ${formatSeconds(seconds)}`;
}

const accuracyText = ({ accuracy }: ImageEvaluation): string =>
  accuracy ? `top-1 ${(100 * accuracy.top1).toFixed(2)} %, ` : '';

export function cnnFailedLine({ method, sparsity, reason }: CnnFailedRow): string {
  return `${method} at ${sparsity} failed: ${reason}`;
}

export function cnnTunedLine({ name, row }: Extract<CnnComparisonEvent, { kind: 'tuned' }>): string {
  const [cosine] = parityCells(row.evaluation);
  return `${name} fine-tuned: ${accuracyText(row.evaluation)}cosine ${cosine}, ${formatSeconds(row.seconds)}`;
}
