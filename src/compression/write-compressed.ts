import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { unpackFactor } from '../formats/container/packed-factor.js';
import { ContainerWriter, planProduct } from '../formats/container/writer.js';
import type { Matrix } from '../linalg/matrix.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionPlan, PlannedUnit } from './compression-plan.js';
import type { FinishedProduct } from './product-file.js';
import type { RunFolder } from './run-folder.js';

/** What config.json tells of the calibration. */
export interface CalibrationRecord {
  /** Hash of the text, to notice when a model is evaluated on it. */
  readonly text: string;
  /** Hash of the windows. */
  readonly windows: string;
  readonly samples: number;
  readonly seqLen: number;
}

/** What was written and read back. */
export interface VerifiedModel {
  /** Bytes of the compressed weights' values and supports, and of the same weights dense in the same type. */
  readonly linearBytes: number;
  readonly denseLinearBytes: number;
  readonly nonzeros: number;
  /** Nonzeros that all weights together were allowed. */
  readonly budget: number;
}

/**
 * Writes the compressed model from its finished products, then reads it back: every product must be what was computed,
 * to the last bit, and within its budget.
 * @param finished reads the product of a unit.
 * @throws DoubleSparseError `verification-failed`; of the writer and of `finished`
 */
export async function writeCompressedModel(
  model: LlamaModel,
  plan: CompressionPlan,
  folder: RunFolder,
  out: string,
  options: CompressOptions,
  calibration: CalibrationRecord,
  finished: (unit: PlannedUnit) => FinishedProduct,
): Promise<VerifiedModel> {
  const planned = plan.units.map((unit) => planProduct(unit.name, finished(unit).factors, unit.members, unit.dtype));
  const { sparsity, effort, seed, sequential, blockSteps } = options;
  const matching = blockSteps > 0 && { blockSteps };
  const settings = { method: plan.method, sparsity, effort, seed, sequential, ...matching, calibration };
  const replace = options.force || folder.ownsOutput;
  const writer = new ContainerWriter(out, model.checkpoint, planned, { settings, replace });
  try {
    for (const unit of plan.units) writer.writeProduct(unit.name, finished(unit).factors);
    folder.claimOutput();
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  folder.log({ event: 'written', out });
  try {
    return verify(plan, out, finished);
  } catch (error) {
    // Without config.json nobody takes it for a model.
    rmSync(join(out, 'config.json'), { force: true });
    throw error;
  }
}

function verify(plan: CompressionPlan, out: string, finished: (unit: PlannedUnit) => FinishedProduct): VerifiedModel {
  const written = new CompressedCheckpoint(out);
  try {
    let [nonzeros, budget] = [0, 0];
    for (const unit of plan.units) {
      const { factors, metrics } = finished(unit);
      const read = written.readProduct(unit.name).map((factor) => unpackFactor(factor));
      if (read.length !== factors.length || !factors.every((factor, index) => sameMatrix(factor, read[index]))) {
        throw failed(out, unit.name, 'it was written differently from how it was computed');
      }
      const stored = written.products.get(unit.name)?.counts.reduce((sum, count) => sum + count, 0) ?? 0;
      const allowed = Object.values(metrics).reduce((sum, each) => sum + each.budget, 0);
      if (stored > allowed) throw failed(out, unit.name, `it has ${stored} nonzeros, ${allowed} were allowed`);
      nonzeros += stored;
      budget += allowed;
    }
    const sum = (of: 'bytes' | 'denseBytes'): number =>
      [...written.compression.values()].reduce((total, each) => total + each[of], 0);
    return { linearBytes: sum('bytes'), denseLinearBytes: sum('denseBytes'), nonzeros, budget };
  } finally {
    written.close();
  }
}

function sameMatrix(expected: Matrix, actual: Matrix | undefined): boolean {
  if (actual?.rows !== expected.rows || actual.columns !== expected.columns) return false;
  return actual.data.every((value, i) => value === expected.data[i]);
}

function failed(out: string, product: string, problem: string): DoubleSparseError {
  return new DoubleSparseError('verification-failed', `${out}: ${product}: ${problem}`, {
    data: { out, product },
    hint: 'the disk may be damaged; the run folder still holds every finished product: start the command again',
  });
}
