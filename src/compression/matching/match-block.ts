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
  type MatchedSteps,
  type MatchingPool,
  type MatchOptions,
  matchPart,
  type PartExamples,
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
  /** Room for the hidden states of all sequences within the block, and for what the dense part makes of the same inputs. */
  readonly room: readonly Matrix[];
  readonly ownRoom: readonly Matrix[];
  readonly compute: Compute;
  /** Memory of what is trained; it holds nothing that is needed afterwards. */
  readonly allocate: SharedAllocation;
  /** What matching the block before it brought. */
  readonly before: BlockGains | undefined;
}

/** What matching brought, as mean squared errors of the rows of a part's output relative to them, on held-out windows. */
export interface PartGain extends MatchedSteps {
  /** Beside the dense model's stream. */
  readonly before: number;
  readonly after: number;
  /** Beside what the dense part makes of the same inputs, before and behind the steps. */
  readonly own: { readonly before: number; readonly after: number };
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
 * compressed prefix.
 *
 * All products of a part are first trained together towards what the dense part makes of the same inputs: the error that
 * is their own. Beside the dense model's stream it would drown in the errors of the prefix, ten times as large after a
 * few blocks, and a few steps would follow those. The last product is linear in its inputs: it is then fitted to the
 * stream, by conjugate gradients over all windows at once, and makes up for what it can of the prefix.
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

/** Trains the products of a part, rounds them, and puts them in place. @param targets the dense model's stream. */
async function matchProducts(
  pool: MatchingPool,
  block: BlockToMatch,
  part: BlockPart,
  inputs: readonly Matrix[],
  targets: readonly Matrix[],
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
): Promise<{ products: readonly UnitFactors[]; gain?: PartGain }> {
  const { shape, dense, weights, ownRoom, install, before, compute, allocate } = block;
  const products = block.products.filter(({ unit }) => unit.members.some(({ module }) => partOf(module) === part));
  if (products.length === 0) return { products: [] };
  const { values, parameters, factorsWith } = productValues(products, weights, allocate);
  const trained = newTrainedValues(values, [...parameters.values()], pool.lanes, 0, allocate);
  const share = { trained, microBatch: 1, part, shape, weights: trainedWeights(weights, parameters) };
  const examplesWith = (wanted: readonly Matrix[]): PartExamples =>
    split(
      inputs.map((input, index) => ({ input, target: wanted[index] as Matrix })),
      options.heldOut,
    );
  const [stream, own] = [examplesWith(targets), examplesWith(ownRoom)];
  await runPart(pool, block, dense, part, inputs, ownRoom);
  await pool.share(share);
  await pool.expand();
  const initial = { error: await heldOutError(pool, stream.heldOut), values: values.slice() };
  const ownError = await heldOutError(pool, own.heldOut);
  const settings = { ...options, firstRate: firstRate(before?.[part]) };
  const steps = await matchPart(pool, trained, own, ownError, settings);
  const stepped = await heldOutError(pool, stream.heldOut);
  const last = parameters.get(lastProducts[part]);
  const fitted = last ? await fitLastProduct(pool, share, last, stream, stepped, compute, allocate) : stepped;
  const better = fitted < initial.error;
  if (!better) values.set(initial.values);
  const gain: PartGain = {
    ...steps,
    ...{ before: initial.error, after: better ? fitted : initial.error },
    own: { before: ownError, after: steps.after },
    ...(!better && { bestStep: 0 }),
  };
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
