import type { SpeedComparison, SpeedRow } from '../evaluation/speed/compare-speeds.js';
import { instructionsPerEight, type ProductKernel, productKernels } from '../evaluation/speed/product-kernels.js';
import { nearBound } from '../evaluation/speed/roofline.js';
import type { Spread } from '../evaluation/speed/spread.js';
import { formatBytes, formatSeconds, renderTable } from './table.js';

/** What each row is. */
function speedTitle({ kind, report }: SpeedRow): string {
  if (kind === 'blas') return 'fp32 sgemv, products alone';
  if (kind !== 'runtime') return report.description;
  return report.model?.compressed ? 'sparse runtime' : 'dense runtime';
}

/** The comparison as a table, what each product runs as, the roofline, what is absent, and one sentence. */
export function speedTable(comparison: SpeedComparison): string {
  const { processor, threads, rounds, tokens, rows, absent, cores, machine } = comparison;
  const lengths = rows[0]?.prompts.map(({ length }) => length) ?? [];
  const header = [
    'runs as',
    'tokens/s',
    'low - high',
    ...lengths.map((length) => `prompt ${length} tokens/s`),
    'first token',
    'load',
    'resident',
    'behind all',
    'file',
  ];
  const cells = rows.map((row) => [
    `${speedTitle(row)}: ${row.path}`,
    row.tokensPerSecond.median.toFixed(1),
    range(row.tokensPerSecond, 1),
    ...lengths.map(
      (length) => row.prompts.find((each) => each.length === length)?.tokensPerSecond.median.toFixed(0) ?? '-',
    ),
    row.firstToken ? formatSeconds(row.firstToken.median / 1000) : '-',
    row.report.residentBytes === undefined ? '-' : formatSeconds(row.report.loadSeconds),
    row.report.residentBytes === undefined ? '-' : formatBytes(row.report.residentBytes),
    row.report.residentBytes === undefined ? '-' : formatBytes(row.residentAfter),
    row.fileBytes === undefined ? '-' : formatBytes(row.fileBytes),
  ]);
  const lines = [
    `${processor}, ${threads} threads; medians of ${rounds} rounds in turns; ${tokens} tokens one at a time behind ${lengths[0]}`,
    '',
    renderTable(header, cells),
    '',
    ...rows.flatMap(representationLine),
    ...(threads > cores ? [`${threads} threads on ${cores} cores wait for each other: fewer are faster`] : []),
    `memory is read at ${(machine.bandwidth / 1e9).toFixed(1)} GB/s by ${threads} threads`,
    ...rows.flatMap(rooflineLine),
    `eight positions in a core's cache take: ${usedKernels(rows)
      .map((kernel) => kernelCost(kernel, machine.nanosecondsPerEight[kernel]))
      .join(', ')}`,
    ...(absent.length > 0 ? ['not compared:', ...absent.map((line) => `  ${line}`)] : []),
    '',
    speedSentence(comparison),
  ];
  return lines.join('\n');
}

/** By chance n rounds agree once in 2^(n - 1) times: fewer tell nothing. */
const fewestRounds = 3;

/** Faster or slower, by how much, on this processor. */
export function speedSentence({ processor, threads, rounds, rows }: SpeedComparison): string {
  const [first, ...others] = rows;
  const subject = first?.report.model?.compressed ? 'The compressed model' : 'The model';
  if (!first || others.length === 0) {
    const speed = first?.tokensPerSecond.median.toFixed(1) ?? '-';
    return `${subject} generates ${speed} tokens/s on ${processor} with ${threads} threads; there was nothing to compare it with.`;
  }
  if (rounds < fewestRounds) {
    return `${subject} was compared in ${rounds === 1 ? 'one round' : `${rounds} rounds`}, too few to tell faster from slower: use --rounds ${fewestRounds} or more.`;
  }
  const parts = others.flatMap((row) => {
    const { firstIsFaster: ratio } = row;
    return ratio
      ? `${comparedTo(ratio)} ${row.kind === 'runtime' ? 'our ' : ''}${speedTitle(row)}${spread(ratio)}`
      : [];
  });
  return `${subject} generates ${parts.join('; ')}: on ${processor} with ${threads} threads.`;
}

function comparedTo({ median, low, high }: Spread): string {
  if (low <= 1 && high >= 1) return 'neither clearly faster nor slower than';
  return median > 1 ? `${median.toFixed(2)} times as fast as` : `${(1 / median).toFixed(2)} times slower than`;
}

const spread = (ratio: Spread): string => ` (speeds as ${range(ratio, 2)} to 1 in single rounds)`;
const range = ({ low, high }: Spread, digits: number): string => `${low.toFixed(digits)} - ${high.toFixed(digits)}`;

function representationLine(row: SpeedRow): string[] {
  if (speedTitle(row) === row.report.description) return [];
  const counts = Object.entries(row.report.model?.representations ?? {});
  const shown = counts.map(([representation, products]) => `${products} ${representation}`).join(', ');
  return [`${row.path}: ${row.report.description}${shown === '' ? '' : `; products run ${shown}`}`];
}

function rooflineLine({ roofline, path, tokensPerSecond }: SpeedRow): string[] {
  if (!roofline) return [];
  const { bytesPerToken, instructionsPerToken, memoryBound, instructionBound, boundBy } = roofline;
  const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
  const bound = {
    memory: 'memory bounds it',
    instructions: 'instructions bound it',
    neither: `neither bounds it (less than ${percent(nearBound)} of both), but what is around the products: attention, norms, threads that wait for each other or for a core`,
  }[boundBy];
  return [
    `${path}: a token reads ${formatBytes(bytesPerToken)} and takes ${(instructionsPerToken / 1e6).toFixed(0)} million instructions in products`,
    `  memory allows ${memoryBound.toFixed(0)} tokens/s, the instructions ${instructionBound.toFixed(0)}; ${tokensPerSecond.median.toFixed(1)} are ${percent(roofline.reachedOfMemory)} and ${percent(roofline.reachedOfInstructions)}: ${bound}`,
    `  a native kernel, whose vectors take 32 positions at a time, reaches what memory allows at most: ${memoryBound.toFixed(0)} tokens/s`,
  ];
}

/** Kernels that some model of the table runs. */
function usedKernels(rows: readonly SpeedRow[]): ProductKernel[] {
  return productKernels.filter((kernel) => rows.some(({ report }) => (report.model?.work[kernel] ?? 0) > 0));
}

function kernelCost(kernel: ProductKernel, nanoseconds: number): string {
  const what = kernel.startsWith('indexed') ? `${kernel} (eight values)` : kernel;
  return `${what} ${instructionsPerEight[kernel]} instructions, ${nanoseconds.toFixed(2)} ns`;
}
