import type { Matrix } from '../../linalg/matrix.js';
import { sharedZeros } from '../../linalg/shared-matrix.js';
import type { LinearName } from '../../models/llama/tensors.js';
import { linearNames } from '../../models/llama/tensors.js';
import type { BlockWeights } from '../../models/llama/weights.js';
import type { BlockShape, TrainedBlock } from '../../training/block.js';
import type { LinearLayer } from '../../training/operations/linear.js';
import type { Parameter } from '../../training/parameter.js';
import { newTrainedValues } from '../../training/trained-values.js';
import type { PlannedUnit } from '../compression-plan.js';
import { toStoredPrecision } from '../stored-precision.js';
import {
  firstRate,
  type MatchingPool,
  type MatchOptions,
  matchPart,
  type PartExamples,
  type PartGain,
} from './match-part.js';
import { type BlockPart, blockParts, type PartExample } from './part-losses.js';
import { productValues, type UnitFactors } from './product-values.js';

/** Hidden states of all sequences before a block: in the dense model, and behind the compressed prefix. */
export interface BlockStates {
  readonly dense: readonly Matrix[];
  readonly compressed: readonly Matrix[];
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
 * @param dense the block's dense weights.
 * @param weights the block with its products in place, which are trained in it.
 * @param install puts a rounded product into `weights`.
 * @param before what the block before it told about learning rates.
 */
export async function matchBlock(
  pool: MatchingPool,
  shape: BlockShape,
  dense: BlockWeights,
  weights: BlockWeights,
  products: readonly UnitFactors[],
  states: BlockStates,
  install: (unit: PlannedUnit, factors: readonly Matrix[]) => void,
  options: Omit<MatchOptions, 'firstRate'> & { heldOut: number },
  before: BlockGains | undefined,
): Promise<MatchedBlock> {
  const room = (): Matrix[] => states.dense.map(({ rows, columns }) => sharedZeros(rows, columns));
  const matched: UnitFactors[] = [];
  const gains: Partial<Record<BlockPart, PartGain>> = {};
  let inputs = states.compressed;
  let denseInputs = states.dense;
  for (const part of blockParts) {
    const targets = room();
    await runPart(pool, shape, dense, part, denseInputs, targets);
    const members = products.filter(({ unit }) => unit.members.some(({ module }) => partOf(module) === part));
    if (members.length > 0) {
      const examples = inputs.map((input, index) => ({ input, target: targets[index] as Matrix }));
      const { values, parameters, factorsWith } = productValues(members, weights);
      const trained = newTrainedValues(values, [...parameters.values()], pool.lanes, 0);
      await pool.share({ trained, microBatch: 1, part, shape, weights: trainedWeights(weights, parameters) });
      const own = { ...options, firstRate: firstRate(before?.[part]) };
      gains[part] = await matchPart(pool, trained, split(examples, options.heldOut), own);
      const rounded = factorsWith(trained.values).map(({ unit, factors }) => ({
        unit,
        factors: toStoredPrecision(factors, unit.dtype),
      }));
      for (const { unit, factors } of rounded) install(unit, factors);
      matched.push(...rounded);
    }
    // The MLP part's inputs.
    if (part === 'attention') {
      const outputs = room();
      await runPart(pool, shape, weights, part, inputs, outputs);
      [inputs, denseInputs] = [outputs, targets];
    }
  }
  return { products: matched, gains };
}

/** Outputs of a part. */
async function runPart(
  pool: MatchingPool,
  shape: BlockShape,
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
