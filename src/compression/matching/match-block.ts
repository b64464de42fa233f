import type { Compute } from '../../linalg/compute.js';
import { type Matrix, rowsOf } from '../../linalg/matrix.js';
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
  /** Hidden states of all sequences before the block, behind the compressed prefix; behind the block afterwards. */
  readonly compressed: readonly Matrix[];
  /** Those of the dense model. */
  readonly denseStates: readonly Matrix[];
  /** Room for what the dense part makes of the compressed model's states. */
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

/**
 * Pieces of a window that are an example each, in steps so many times as small and as many: for as many tokens they bring
 * twice as much. The MLP part takes positions one by one; a piece at the attention part sees nothing before it, in the
 * dense part and in the compressed one.
 */
const pieces: Readonly<Record<BlockPart, number>> = { attention: 2, mlp: 4 };

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
 *
 * The hidden states of both models are behind the block afterwards.
 */
export async function matchBlock(
  pool: MatchingPool,
  block: BlockToMatch,
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
): Promise<MatchedBlock> {
  const { dense, weights, compressed, denseStates } = block;
  const products: UnitFactors[] = [];
  const gains: Partial<Record<BlockPart, PartGain>> = {};
  for (const part of ['attention', 'mlp'] as const) {
    await runPart(pool, block, dense, part, inPlace(denseStates));
    const matched = await matchProducts(pool, block, part, options);
    products.push(...matched.products);
    if (matched.gain) gains[part] = matched.gain;
    await runPart(pool, block, weights, part, inPlace(compressed));
  }
  return { products, gains };
}

/** Trains the products of a part, rounds them, and puts them in place. The dense model's states are behind the part. */
async function matchProducts(
  pool: MatchingPool,
  block: BlockToMatch,
  part: BlockPart,
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
): Promise<{ products: readonly UnitFactors[]; gain?: PartGain }> {
  const { shape, dense, weights, compressed, denseStates, ownRoom, install, before, compute, allocate } = block;
  const products = block.products.filter(({ unit }) => unit.members.some(({ module }) => partOf(module) === part));
  if (products.length === 0) return { products: [] };
  const { values, parameters, factorsWith } = productValues(products, weights, pool.lanes, allocate);
  const trained = newTrainedValues(values, [...parameters.values()], pool.lanes, 0, allocate);
  const share = { trained, microBatch: 1, part, shape, weights: trainedWeights(weights, parameters) };
  const examplesWith = (wanted: readonly Matrix[]): PartExamples =>
    split(
      compressed.map((input, index) => ({ input, target: wanted[index] as Matrix })),
      options.heldOut,
    );
  const [stream, own] = [examplesWith(denseStates), examplesWith(ownRoom)];
  const steps = options.steps * pieces[part];
  const seen = stepExamples(part, own.training, steps * options.batch);
  await runPart(pool, block, dense, part, [...seen, ...own.heldOut]);
  await pool.share(share);
  await pool.expand();
  const initial = { error: await heldOutError(pool, stream.heldOut), values: values.slice() };
  const ownError = await heldOutError(pool, own.heldOut);
  const settings = { ...options, steps, firstRate: firstRate(before?.[part]) };
  const matched = await matchPart(pool, trained, { training: seen, heldOut: own.heldOut }, ownError, settings);
  const last = parameters.get(lastProducts[part]);
  const fitted = last
    ? await fitLastProduct(pool, share, last, stream, initial.error, compute, allocate)
    : await heldOutError(pool, stream.heldOut);
  const better = fitted < initial.error;
  if (!better) values.set(initial.values);
  const gain: PartGain = {
    ...matched,
    ...{ before: initial.error, after: better ? fitted : initial.error },
    own: { before: ownError, after: matched.after },
    ...(!better && { bestStep: 0 }),
  };
  const rounded = factorsWith(trained.values).map(
    ({ unit, factors }): UnitFactors => ({ unit, factors: toStoredPrecision(factors, unit.dtype) }),
  );
  for (const { unit, factors } of rounded) install(unit, factors);
  return { products: rounded, gain };
}

/** Writes the outputs of a part in place of the targets, which may be the inputs. */
async function runPart(
  pool: MatchingPool,
  { shape }: BlockToMatch,
  weights: BlockWeights,
  part: BlockPart,
  examples: readonly PartExample[],
): Promise<void> {
  const trained = newTrainedValues(new Float32Array(0), [], pool.lanes, 0);
  await pool.share({ trained, microBatch: 1, part, shape, weights: trainedWeights(weights, new Map()) });
  await pool.losses(examples.map(({ input, target }) => ({ input, ...(target && { output: target }) })));
}

const inPlace = (states: readonly Matrix[]): PartExample[] => states.map((input) => ({ input, target: input }));

/** What the steps see: the training windows in {@link pieces}, no more than there are steps for, evenly spread. */
function stepExamples(part: BlockPart, training: readonly PartExample[], most: number): PartExample[] {
  const count = ({ rows }: Matrix): number => Math.min(rows, pieces[part]);
  const cut = (matrix: Matrix, piece: number): Matrix => {
    const first = Math.floor((piece * matrix.rows) / count(matrix));
    return rowsOf(matrix, first, Math.floor(((piece + 1) * matrix.rows) / count(matrix)) - first);
  };
  const all = training.flatMap(({ input, target }): PartExample[] =>
    Array.from({ length: count(input) }, (_, piece) => {
      return { input: cut(input, piece), ...(target && { target: cut(target, piece) }) };
    }),
  );
  const seen = Math.min(all.length, most);
  return Array.from({ length: seen }, (_, i) => all[Math.floor((i * all.length) / seen)] as PartExample);
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
