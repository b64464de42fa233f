import type { CompressionResult } from '../compression/compress-model.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import type { PlannedUnit } from '../compression/compression-plan.js';
import { type DryRun, unitBudget } from '../compression/dry-run.js';
import { formatBytes, formatError, formatSeconds, renderTable } from './table.js';

/** Perplexity of a result, as a multiple of the dense model's, from which on it is hardly of use. */
const lostFactor = 2;
/** Relative layer error of a matrix that is no longer itself. */
const largeError = 0.3;

/** One line for a finished product: each member's share, then what they have in common. */
export function productLine({
  done,
  total,
  unit,
  metrics,
  eta,
}: Extract<CompressionEvent, { kind: 'product' }>): string {
  const all = Object.values(metrics);
  const sum = (of: 'nonzeros' | 'seconds'): number => all.reduce((result, each) => result + each[of], 0);
  const entries = unit.members.reduce((result, { rows, columns }) => result + rows * columns, 0);
  const errors = all.map(({ relativeError }) => formatError(relativeError)).join(' ');
  const damping = Math.max(...all.map((each) => each.damping));
  return [
    `[${String(done).padStart(String(total).length)}/${total}] ${unit.name} ${shapeOf(unit)}`,
    `nnz ${((100 * sum('nonzeros')) / entries).toFixed(1)} %`,
    `error ${errors}`,
    formatSeconds(sum('seconds')),
    ...(damping > 0 ? [`damping raised by ${damping.toPrecision(1)}`] : []),
    ...(eta === undefined ? [] : [`eta ${formatSeconds(eta)}`]),
  ].join('  ');
}

/**
 * One line for a matched block: how far its parts are from the dense model's on held-out windows, before and after, and
 * from what the dense parts make of the same inputs.
 */
export function matchedLine({ block, gains }: Extract<CompressionEvent, { kind: 'matched' }>): string {
  const change = ({ before, after }: { before: number; after: number }): string =>
    `${formatError(before)} -> ${formatError(after)}`;
  const parts = Object.entries(gains).map(([part, gain]) => {
    const { own, bestStep, steps, nonFiniteStep } = gain;
    const ended =
      nonFiniteStep === undefined
        ? ''
        : `, ended: step ${nonFiniteStep} was not finite, the best values before it stay`;
    return `${part} ${change(gain)}, its own ${change(own)} (step ${bestStep} of ${steps}${ended})`;
  });
  return `block ${block} matched: ${parts.join(', ')}`;
}

function shapeOf({ members }: PlannedUnit): string {
  return `${members.map(({ rows }) => rows).join('+')}x${members[0]?.columns}`;
}

/** Totals of a run, for people. */
export function compressionSummary(result: CompressionResult, out: string, modelBytes: number): string {
  const { plan, linearBytes, denseLinearBytes, nonzeros, budget } = result;
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  const keptEntries = plan.allEntries - plan.targetedEntries;
  const reasons = new Map<string, number>();
  for (const { reason } of plan.kept) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  return [
    '',
    `${plan.units.length} products of ${result.metrics.size} weights in ${out}${modelBytes > 0 ? ` (${formatBytes(modelBytes)})` : ''}`,
    `linear layers: ${formatBytes(denseLinearBytes)} -> ${formatBytes(linearBytes)} (${percent(linearBytes, denseLinearBytes)}), ${((8 * linearBytes) / plan.targetedEntries).toFixed(2)} bits per weight`,
    ...largerNote(linearBytes, denseLinearBytes),
    `nonzeros: ${nonzeros} of ${budget} allowed, ${percent(nonzeros, plan.targetedEntries)} of the compressed weights; with what is kept dense ${percent(nonzeros + keptEntries, plan.allEntries)} of the model`,
    `kept dense: ${[...reasons].map(([reason, count]) => `${count} ${reason}`).join(', ')}`,
    'verified: read back bit for bit, every count within its budget',
    `outputs on calibration windows: perplexity ${result.denseOutput.toFixed(3)} dense, ${result.compressedOutput.toFixed(3)} read back`,
    ...lossNotes(result),
    `${formatSeconds(result.seconds)} (factorisation ${formatSeconds(result.factorizationSeconds)}), ${result.workers} workers x ${result.blasThreads} threads, ${result.engine}; peak memory ${formatBytes(result.peakMemoryBytes)}`,
  ].join('\n');
}

function largerNote(bytes: number, denseBytes: number): string[] {
  return bytes < denseBytes
    ? []
    : ['not smaller than dense: at so many nonzeros the zeros save less than the supports take'];
}

/** What a user must not overlook: matrices without a nonzero, and outputs far from the dense model's. */
function lossNotes({ metrics, denseOutput, compressedOutput }: CompressionResult): string[] {
  const empty = [...metrics].filter(([, { nonzeros }]) => nonzeros === 0).map(([name]) => name);
  const [first] = [...metrics].filter(([, { relativeError }]) => relativeError > largeError);
  const lost = compressedOutput > lostFactor * denseOutput;
  return [
    ...(empty.length > 0 ? [`WITHOUT A NONZERO: ${empty.length} matrices, the first ${empty[0]}`] : []),
    ...(lost
      ? [
          `MUCH IS LOST: ${(compressedOutput / denseOutput).toPrecision(3)} times the dense perplexity${
            first ? `; the first matrix with a large error (${formatError(first[1].relativeError)}) is ${first[0]}` : ''
          }. Try a lower --sparsity, another --method, or --exclude what is sensitive`,
        ]
      : []),
  ];
}

export function dryRunTable(plan: DryRun): string {
  const rows = plan.units.map((unit) => [
    unit.name,
    shapeOf(unit),
    plan.method,
    String(unitBudget(unit, plan.sparsity)),
  ]);
  const kept = plan.kept.map(({ name, reason }) => [name, '', 'kept', reason]);
  return [
    renderTable(['matrix', 'shape', 'method', 'nonzeros'], [...rows, ...kept]),
    '',
    `linear layers: ${formatBytes(plan.denseLinearBytes)} dense -> about ${formatBytes(plan.estimatedLinearBytes)}`,
    ...largerNote(plan.estimatedLinearBytes, plan.denseLinearBytes),
    `memory: about ${formatBytes(plan.estimatedMemoryBytes)}`,
    `hidden states: ${formatBytes(plan.hiddenStatesBytes)}, ${
      plan.hiddenStatesSpilled
        ? `more than --hidden-states-memory: in files of the run folder, up to ${formatBytes(2 * plan.hiddenStatesBytes)}`
        : 'in memory'
    }`,
  ].join('\n');
}
