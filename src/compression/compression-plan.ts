import { DoubleSparseError } from '../errors.js';
import type { MethodName } from '../factorization/registry.js';
import type { WritableFloatType } from '../formats/dtype.js';
import { valueTypeOf } from '../formats/kept-tensor.js';
import { elementCount } from '../linalg/element-count.js';
import type { LlamaModel } from '../models/llama/model.js';
import {
  blockTensor,
  embeddingName,
  groupMembers,
  headName,
  type LinearGroup,
  type LinearName,
  linearGroups,
  linearNames,
  linearShape,
} from '../models/llama/tensors.js';
import type { CompressOptions } from './compress-options.js';
import { stacks } from './matrix-job.js';
import { namePattern } from './name-pattern.js';

/** A weight that will be compressed. */
export interface PlannedMember {
  readonly weight: string;
  readonly module: LinearName;
  /** out, in */
  readonly rows: number;
  readonly columns: number;
}

/** Weights that one job factorises, and that one product of the output stores. */
export interface PlannedUnit {
  /** Name of the product. */
  readonly name: string;
  readonly block: number;
  readonly group: LinearGroup;
  readonly members: readonly PlannedMember[];
  /** Type of the stored values. */
  readonly dtype: WritableFloatType;
}

export interface KeptTensor {
  readonly name: string;
  readonly reason: string;
}

/** What a run will do, made from headers alone. */
export interface CompressionPlan {
  readonly method: MethodName;
  /** In the order of computation. */
  readonly units: readonly PlannedUnit[];
  readonly kept: readonly KeptTensor[];
  /** Entries of all weights that are compressed, and of all tensors. */
  readonly targetedEntries: number;
  readonly allEntries: number;
}

/**
 * Decides for every tensor of a model whether it is compressed, and with which others.
 * @throws DoubleSparseError `option-out-of-range` when include and exclude leave nothing.
 */
export function planCompression(model: LlamaModel, options: CompressOptions): CompressionPlan {
  const method = methodOf(options);
  const included = options.include.map(namePattern);
  const excluded = options.exclude.map(namePattern);
  const takes = (name: string): boolean => included.some((test) => test(name)) && !excluded.some((test) => test(name));
  const { config, checkpoint } = model;
  const units: PlannedUnit[] = [];
  for (let block = 0; block < config.layers; block++) {
    for (const group of linearGroups) {
      const members = groupMembers[group]
        .map((module): PlannedMember => {
          const [rows, columns] = linearShape(config, module);
          return { weight: blockTensor(block, module), module, rows, columns };
        })
        .filter(({ weight }) => takes(weight));
      const together = group === 'qkv' && stacks(method) && members.length > 1;
      for (const list of together ? [members] : members.map((member) => [member])) {
        const [first] = list as [PlannedMember];
        const name = together ? `model.layers.${block}.self_attn.qkv_proj` : first.weight.replace(/\.weight$/, '');
        const dtype = valueTypeOf(checkpoint.tensors.get(first.weight)?.dtype ?? 'F16');
        units.push({ name, block, group, members: list, dtype });
      }
    }
  }
  refuseIdlePatterns(options, config.layers);
  if (units.length === 0) {
    throw new DoubleSparseError('option-out-of-range', 'include and exclude leave no matrix to compress', {
      data: { include: options.include, exclude: options.exclude },
      hint: 'dsf inspect MODEL lists the names',
    });
  }
  const compressed = new Set(units.flatMap(({ members }) => members.map(({ weight }) => weight)));
  const kept = [...checkpoint.tensors.values()]
    .filter(({ name }) => !compressed.has(name))
    .map(({ name, shape }) => ({ name, reason: keptBecause(name, shape, config.tiedHead) }));
  return {
    method,
    units,
    kept,
    targetedEntries: units
      .flatMap(({ members }) => members)
      .reduce((sum, { rows, columns }) => sum + rows * columns, 0),
    allEntries: [...checkpoint.tensors.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0),
  };
}

/** A pattern without any match is a slip of the pen: what it was meant for would be treated otherwise, unnoticed. */
function refuseIdlePatterns({ include, exclude }: CompressOptions, layers: number): void {
  const names = Array.from({ length: layers }, (_, block) => linearNames.map((module) => blockTensor(block, module)));
  for (const pattern of [...include, ...exclude]) {
    if (names.flat().some(namePattern(pattern))) continue;
    throw new DoubleSparseError('option-out-of-range', `the pattern ${pattern} matches no linear layer`, {
      data: { pattern },
      hint: 'dsf inspect MODEL lists the names; * stands for any characters',
    });
  }
}

/** `--fixed-mask` is a variant of the method, not a method of its own. */
function methodOf({ method, fixedMask }: CompressOptions): MethodName {
  if (!fixedMask) return method;
  if (method === 'double-sparse' || method === 'double-sparse-fixed-mask') return 'double-sparse-fixed-mask';
  throw new DoubleSparseError('option-out-of-range', `a fixed mask belongs to double-sparse, not to ${method}`, {
    data: { method },
  });
}

function keptBecause(name: string, shape: readonly number[], tiedHead: boolean): string {
  if (name === embeddingName) return tiedHead ? 'embeddings, tied to the head' : 'embeddings';
  if (name === headName) return 'head';
  if (name.endsWith('.bias')) return 'bias';
  if (shape.length < 2) return 'norm';
  return 'not included';
}
