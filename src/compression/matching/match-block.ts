import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { SharedAllocation } from '../../linalg/shared-matrix.js';
import type { LinearName } from '../../models/llama/tensors.js';
import { linearNames } from '../../models/llama/tensors.js';
import type { BlockWeights } from '../../models/llama/weights.js';
import type { BlockShape, TrainedBlock } from '../../training/block.js';
import type { LinearLayer } from '../../training/operations/linear.js';
import type { Parameter } from '../../training/parameter.js';
import { newTrainedValues } from '../../training/trained-values.js';
import type { PlannedUnit } from '../compression-plan.js';
import { toStoredPrecision } from '../stored-precision.js';
import { fitLastProduct } from './fit-last-product.js';
import {
  firstRate,
  heldOutError,
  type MatchingPool,
  type MatchOptions,
  matchPart,
  type PartExamples,
  type PartGain,
} from './match-part.js';
import { type BlockPart, lastProducts, type PartExample } from './part-losses.js';
import { productValues, type UnitFactors } from './product-values.js';

/** A compressed block to be matched. */
export interface BlockToMatch {
  readonly shape: BlockShape;
  /** Its dense weights. */
  readonly dense: BlockWeights;
  /** The block with its products in place; they are trained in it. */
  readonly weights: BlockWeights;
  readonly products: readonly UnitFactors[];
  /** Puts a product into `weights`. */
  readonly install: (unit: PlannedUnit, factors: readonly Matrix[]) => void;
  /** Hidden states of all sequences before the block, behind the compressed prefix. */
  readonly compressed: readonly Matrix[];
  /** Those of the dense model, and what takes them through the block, in place. */
  readonly denseStates: readonly Matrix[];
  readonly advanceDense: () => Promise<void>;
  /** Room for the hidden states of all sequences within the block. */
  readonly room: readonly Matrix[];
  readonly compute: Compute;
  /** Memory of what is trained; it holds nothing that is needed afterwards. */
  readonly allocate: SharedAllocation;
  /** What matching the block before it brought. */
  readonly before: BlockGains | undefined;
}

/** Of the parts that were compressed. */
export type BlockGains = Readonly<Partial<Record<BlockPart, PartGain>>>;

export interface MatchedBlock {
  readonly products: readonly UnitFactors[];
  readonly gains: BlockGains;
}

const partOf = (name: LinearName): BlockPart => (name.startsWith('mlp.') ? 'mlp' : 'attention');

/**
 * Matches the outputs of a compressed block's attention part, then of its MLP part, to those of the dense model by
 * gradient, supports as they are ("A Free Lunch in LLM Compression", arXiv 2510.14444). Inputs are those behind the
 * compressed prefix, targets the dense model's own residual stream: errors of the prefix are made up for.
 *
 * The last product of a part is linear in its inputs: it is first fitted to all windows at once by conjugate gradients,
 * then all products of the part are trained together.
 */
export async function matchBlock(
  pool: MatchingPool,
  block: BlockToMatch,
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
): Promise<MatchedBlock> {
  const { dense, weights, compressed, denseStates, room } = block;
  await runPart(pool, block, dense, 'attention', denseStates, room);
  const attention = await matchProducts(pool, block, 'attention', compressed, room, options);
  // The targets' memory becomes that of the MLP part's inputs.
  await runPart(pool, block, weights, 'attention', compressed, room);
  await block.advanceDense();
  const mlp = await matchProducts(pool, block, 'mlp', room, denseStates, options);
  return {
    products: [...attention.products, ...mlp.products],
    gains: { ...(attention.gain && { attention: attention.gain }), ...(mlp.gain && { mlp: mlp.gain }) },
  };
}

/** Trains the products of a part, rounds them, and puts them in place. */
async function matchProducts(
  pool: MatchingPool,
  { shape, weights, products, install, before, compute, allocate }: BlockToMatch,
  part: BlockPart,
  inputs: readonly Matrix[],
  targets: readonly Matrix[],
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
): Promise<{ products: readonly UnitFactors[]; gain?: PartGain }> {
  const own = products.filter(({ unit }) => unit.members.some(({ module }) => partOf(module) === part));
  if (own.length === 0) return { products: [] };
  const examples = inputs.map((input, index) => ({ input, target: targets[index] as Matrix }));
  const { values, parameters, factorsWith } = productValues(own, weights, allocate);
  const trained = newTrainedValues(values, [...parameters.values()], pool.lanes, 0, allocate);
  const settings = { ...options, firstRate: firstRate(before?.[part]) };
  const parts = split(examples, options.heldOut);
  const share = { trained, microBatch: 1, part, shape, weights: trainedWeights(weights, parameters) };
  await pool.share(share);
  await pool.expand();
  const error = await heldOutError(pool, parts.heldOut);
  const last = parameters.get(lastProducts[part]);
  const fitted = last ? await fitLastProduct(pool, share, last, parts, error, compute, allocate) : error;
  const gain = { before: error, ...(await matchPart(pool, trained, parts, fitted, settings)) };
  const rounded = factorsWith(trained.values).map(
    ({ unit, factors }): UnitFactors => ({ unit, factors: toStoredPrecision(factors, unit.dtype) }),
  );
  for (const { unit, factors } of rounded) install(unit, factors);
  return { products: rounded, gain };
}

/** Outputs of a part. */
async function runPart(
  pool: MatchingPool,
  { shape }: BlockToMatch,
  weights: BlockWeights,
  part: BlockPart,
  inputs: readonly Matrix[],
  outputs: readonly Matrix[],
): Promise<void> {
  const trained = newTrainedValues(new Float32Array(0), [], pool.lanes, 0);
  await pool.share({ trained, microBatch: 1, part, shape, weights: trainedWeights(weights, new Map()) });
  await pool.losses(inputs.map((input, index) => ({ input, output: outputs[index] as Matrix })));
}

/** Evenly spread windows are held out. */
function split(examples: readonly PartExample[], heldOut: number): PartExamples {
  const isHeldOut = (index: number): boolean =>
    Math.floor(((index + 1) * heldOut) / examples.length) > Math.floor((index * heldOut) / examples.length);
  return {
    training: examples.filter((_, index) => !isHeldOut(index)),
    heldOut: examples.filter((_, index) => isHeldOut(index)),
  };
}

function trainedWeights(weights: BlockWeights, parameters: ReadonlyMap<LinearName, Parameter>): TrainedBlock {
  const { inputNorm, postAttentionNorm, queryNorm, keyNorm } = weights;
  const layer = (name: LinearName): LinearLayer => {
    const { weight, bias } = weights.linear[name];
    const parameter = parameters.get(name);
    return { weight: { value: weight, ...(parameter && { parameter }) }, ...(bias && { bias: { value: bias } }) };
  };
  return {
    inputNorm: { value: inputNorm },
    postAttentionNorm: { value: postAttentionNorm },
    ...(queryNorm && { queryNorm: { value: queryNorm } }),
    ...(keyNorm && { keyNorm: { value: keyNorm } }),
    linear: Object.fromEntries(linearNames.map((name) => [name, layer(name)])) as TrainedBlock['linear'],
  };
}
