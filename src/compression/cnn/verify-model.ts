import { ImageModel } from '../../calibration/image-model.js';
import { DoubleSparseError } from '../../errors.js';
import { OutputParity, type Parity } from '../../evaluation/parity.js';
import type { UncomparedOutput } from '../../models/cnn/comparable-outputs.js';
import { type LayerStoredWeight, rewriteModel } from '../../models/cnn/rewrite.js';
import type { CnnResources } from './cnn-resources.js';
import type { CompressedModel } from './compressed-model.js';
import { rewritingOf } from './replacement.js';
import { productOf } from './solve-layer.js';

/** Calibration images on which outputs are compared. */
const comparedImages = 64;
/**
 * Most that outputs of the written model may differ from those of the products they were made from, as a part of the
 * largest. Sums in another order make 2e-3 behind the forty layers of a text recogniser; a wrong node makes far more.
 */
const tolerance = 1e-2;
/** What is added to it for models that compute in half precision. */
const halfTolerance = 3e-2;
/**
 * What is added for each unit of the relative rounding of all new weights, of the factors and of the products they are
 * compared with: the largest of many differences is some multiple of their mean, and layers behind may raise it.
 */
const roundingTolerance = 5;

export interface VerifiedOutputs {
  /** Outputs next to those of the source, by name. */
  readonly parity: Readonly<Record<string, Parity>>;
  readonly notCompared: readonly UncomparedOutput[];
}

/**
 * Loads the new model with onnxruntime and compares its outputs with those of the products that it was made from.
 * @throws DoubleSparseError `verification-failed`
 */
export async function verifyModel(
  { model, images, gathering, compute, outputs }: CnnResources,
  { model: written, weights, compressed }: CompressedModel,
  path: string,
): Promise<VerifiedOutputs> {
  const { compared } = outputs;
  const products = compressed.map(({ planned, factors, offsets }) => {
    return { planned, factors: [productOf({ factors }, planned.layer.groups, compute)], offsets };
  });
  const expectedModel = rewriteModel(model, rewritingOf(model, products), { format: 'plain' });
  const toSource = new Map(compared.map((name) => [name, new OutputParity()]));
  const toExpected = new Map(compared.map((name) => [name, new OutputParity()]));
  const opened: ImageModel[] = [];
  try {
    for (const each of [model, expectedModel.model, written]) opened.push(await ImageModel.open(each, gathering));
    const [source, expected, actual] = opened;
    for await (const batch of compared.length > 0 ? images.batches(comparedImages) : []) {
      const made = await actual.run(batch, compared);
      const [dense, wanted] = [await source.run(batch, compared), await expected.run(batch, compared)];
      for (const name of compared) {
        toSource.get(name)!.add(dense[name], made[name]);
        toExpected.get(name)!.add(wanted[name], made[name]);
      }
    }
  } finally {
    for (const each of opened) await each.close();
  }
  const allowed = allowedDifference([...weights, ...expectedModel.weights]);
  for (const [name, parity] of toExpected) check(name, parity.finish(), allowed, path);
  const parities = [...toSource].map(([name, parity]) => [name, parity.finish()] as const);
  const empty = parities.filter(([, { count }]) => count === 0);
  return {
    parity: Object.fromEntries(parities.filter(([, { count }]) => count > 0)),
    notCompared: [...outputs.others, ...empty.map(([name]) => ({ name, reason: 'it is empty for every image' }))],
  };
}

interface AllowedDifference {
  readonly limit: number;
  /** Types narrower than fp32 in which new weights are stored. */
  readonly narrow: readonly string[];
}

function allowedDifference(weights: readonly LayerStoredWeight[]): AllowedDifference {
  const rounding = weights.reduce((sum, { roundingError }) => sum + roundingError, 0);
  const half = weights.some(({ layer }) => layer.weight.type !== 'F32');
  return {
    limit: tolerance + roundingTolerance * rounding + (half ? halfTolerance : 0),
    narrow: [...new Set(weights.map(({ type }) => type))].filter((type) => type !== 'F32'),
  };
}

function check(name: string, { maximumRelative }: Parity, { limit, narrow }: AllowedDifference, path: string): void {
  if (maximumRelative <= limit) return;
  throw new DoubleSparseError(
    'verification-failed',
    `${path} was not written: its output ${name} would differ by ${maximumRelative.toPrecision(3)} from what its factors make, ${limit.toPrecision(3)} is allowed`,
    {
      data: { path, output: name, difference: maximumRelative, limit },
      hint:
        narrow.length > 0
          ? `factors are rounded to ${narrow.join(', ')} as the weights were: compress the model before it is converted`
          : 'try --method admm: one matrix a layer adds up as the source does',
    },
  );
}
