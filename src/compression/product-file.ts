import { existsSync } from 'node:fs';
import { DoubleSparseError } from '../errors.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { describeProducts, factorNames, metadataKey, storedProducts } from '../formats/container/description.js';
import { packFactor, unpackFactor } from '../formats/container/packed-factor.js';
import { type PlannedFactor, planFactorTensors, readFactor, writeFactor } from '../formats/container/stored-factor.js';
import { planProduct } from '../formats/container/writer.js';
import { SafetensorsFile } from '../formats/safetensors/reader.js';
import { SafetensorsWriter } from '../formats/safetensors/writer.js';
import type { Matrix } from '../linalg/matrix.js';
import type { PlannedUnit } from './compression-plan.js';

/** A finished product: its whole factors in stored precision, and the metrics of each member. */
export interface FinishedProduct {
  readonly factors: readonly Matrix[];
  /** By name of the weight. */
  readonly metrics: Readonly<Record<string, FactorizationMetrics>>;
}

const metricsKey = 'metrics';

/**
 * Writes a finished product to a file of its own, in the container's form (docs/container.md) with the metrics in the
 * header. Atomic.
 * @throws DoubleSparseError `disk-full`, `file-unwritable`
 */
export function writeProductFile(path: string, unit: PlannedUnit, { factors, metrics }: FinishedProduct): void {
  const packed = factors.map((factor) => packFactor(factor, unit.dtype, unit.name));
  const plan = planProduct(unit.name, factors, unit.members);
  const members = plan.members.map(({ weight, rows, nonzeros }) => ({ weight, rows, values: nonzeros }));
  const description = {
    name: unit.name,
    factors: packed.map(({ rows, columns }, index) => ({ name: factorNames[index]!, shape: [rows, columns] as const })),
    members,
  };
  const tensors = plan.factors.flatMap((factor, index) => planFactorTensors(unit.name, index, factor, unit.dtype));
  const metadata = { [metadataKey]: describeProducts([description]), [metricsKey]: JSON.stringify(metrics) };
  const writer = new SafetensorsWriter(path, tensors, metadata);
  try {
    for (const [index, factor] of packed.entries())
      writeFactor(writer, unit.name, index, plan.factors[index] as PlannedFactor, factor);
    writer.commit();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/**
 * Reads a finished product back.
 * @throws DoubleSparseError `file-malformed` when it is damaged or belongs to another unit, `file-unreadable`
 */
export function readProductFile(path: string, unit: PlannedUnit): FinishedProduct {
  if (!existsSync(path)) {
    throw new DoubleSparseError('file-unreadable', `${path} has vanished`, {
      data: { path, product: unit.name },
      hint: 'start the run again: only this product is computed anew',
    });
  }
  const file = new SafetensorsFile(path);
  try {
    const product = storedProducts(file).find(({ name }) => name === unit.name);
    const metrics = file.header.metadata.get(metricsKey);
    if (!product || metrics === undefined) {
      throw new DoubleSparseError('file-malformed', `${path} does not hold ${unit.name}`, {
        data: { path, product: unit.name },
        hint: 'delete this file and start the run again: only this product is computed anew',
      });
    }
    const factors = product.factors.map(({ name }, index) =>
      unpackFactor(readFactor(product, index), undefined, `${path}: ${product.name}.${name}`),
    );
    return { factors, metrics: JSON.parse(metrics) as Record<string, FactorizationMetrics> };
  } finally {
    file.close();
  }
}
