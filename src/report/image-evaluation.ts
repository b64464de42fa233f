import type { Accuracy } from '../evaluation/accuracy.js';
import type { ImageEvaluation } from '../evaluation/evaluate-images.js';
import type { Parity } from '../evaluation/parity.js';
import { formatError, renderTable } from './table.js';

/** What was measured on images, as text. */
export function imageEvaluationText({ accuracy, parity, images }: ImageEvaluation): string {
  const lines = accuracy ? [accuracyText(accuracy)] : [];
  if (parity) lines.push(`outputs next to the other model's, of ${images} images:`, parityTable(parity));
  return lines.join('\n');
}

function accuracyText({ images, correct, top1, standardError, top5, top5StandardError }: Accuracy): string {
  const first = `top-1 ${percentage(top1, standardError)} (${correct} of ${images} images)`;
  return top5 === undefined ? first : `${first}, top-5 ${percentage(top5, top5StandardError ?? 0)}`;
}

const percentage = (part: number, error: number): string =>
  `${(100 * part).toFixed(2)} ± ${(100 * error).toFixed(2)} %`;

/** One row an output; a column of classes where an output has them. */
export function parityTable(parity: Readonly<Record<string, Parity>>): string {
  const rows = Object.entries(parity);
  const classes = rows.some(([, { sameClass }]) => sameClass !== undefined);
  return renderTable(
    ['output', 'values', 'cosine', 'mean relative error', 'largest', ...(classes ? ['same class'] : [])],
    rows.map(([name, { count, cosine, meanRelative, maximumRelative, sameClass }]) => [
      name,
      `${count}`,
      cosine.toFixed(6),
      formatError(meanRelative),
      formatError(maximumRelative),
      ...(classes ? [formatSameClass(sameClass)] : []),
    ]),
  );
}

/** Of images whose class is that of the other model. */
export const formatSameClass = (part: number | undefined): string =>
  part === undefined ? '' : `${(100 * part).toFixed(2)} %`;
