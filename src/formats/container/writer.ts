import { DoubleSparseError } from '../../errors.js';
import { countNonzeros, type Matrix } from '../../linalg/matrix.js';
import type { Checkpoint } from '../checkpoint.js';
import type { WritableFloatType } from '../dtype.js';
import { planKept, valueTypeOf, writeKept } from '../kept-tensor.js';
import { claimModelFolder, commitModelFolder } from '../model-folder.js';
import type { PlannedTensor } from '../safetensors/layout.js';
import { ShardedWriter, type TensorGroup } from '../safetensors/sharded-writer.js';
import {
  compressedConfig,
  describeProducts,
  factorNames,
  metadataKey,
  type ProductDescription,
} from './description.js';
import { packFactor } from './packed-factor.js';
import { type PlannedFactor, planFactorTensors, plannedFactor, writeFactor } from './stored-factor.js';

/** A product whose factors will be written. Everything is known before its values: the header comes first. */
export interface PlannedProduct {
  /** Prefix of its tensors: for a single weight `NAME.weight` use NAME; for stacked ones any name that is free. */
  readonly name: string;
  /** A, or A and B. */
  readonly factors: readonly PlannedFactor[];
  /** Weights that are the rows of A, in order. `nonzeros` of those rows. */
  readonly members: readonly { readonly weight: string; readonly rows: number; readonly nonzeros: number }[];
  /** Type of the values; that of the source's first member if absent, fp16 for fp32 and quantised sources. */
  readonly dtype?: WritableFloatType;
}

export interface ContainerOptions {
  /** More fields for `quantization_config`: method, sparsity, seed, …. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Default 5 GB. */
  readonly maximumShardBytes?: number;
  /** Allows a folder that holds a model. Default false. */
  readonly replace?: boolean;
}

/** The plan of a product from its factors. @param rows of the members, in order. */
export function planProduct(
  name: string,
  factors: readonly Matrix[],
  members: readonly { readonly weight: string; readonly rows: number }[],
  dtype?: WritableFloatType,
): PlannedProduct {
  const a = factors[0] as Matrix;
  let row = 0;
  const counted = members.map(({ weight, rows }) => {
    const data = a.data.subarray(row * a.columns, (row + rows) * a.columns);
    row += rows;
    return { weight, rows, nonzeros: countNonzeros({ rows, columns: a.columns, data }) };
  });
  return { name, factors: factors.map(plannedFactor), members: counted, ...(dtype === undefined ? {} : { dtype }) };
}

/**
 * Writes a compressed model (docs/container.md) beside the tensors and side files of its source. Products are written
 * in any order, best in that of the plan; then {@link finish}. After an error the folder is as before: call
 * {@link abort}.
 */
export class ContainerWriter {
  readonly #source: Checkpoint;
  readonly #products: ReadonlyMap<string, PlannedProduct>;
  readonly #kept: readonly string[];
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #writer: ShardedWriter;
  readonly #written = new Set<string>();

  /**
   * @throws DoubleSparseError `file-exists`, `option-out-of-range` for a plan that does not fit the source,
   *   `file-unwritable`, `disk-full`
   */
  constructor(folder: string, source: Checkpoint, products: readonly PlannedProduct[], options: ContainerOptions = {}) {
    if (source.format === 'double-sparse') {
      throw compressedAlready(source);
    }
    this.#source = source;
    this.#settings = options.settings ?? {};
    this.#products = new Map(products.map((product) => [product.name, checkPlan(product, source)]));
    const compressed = new Set(products.flatMap(({ members }) => members.map(({ weight }) => weight)));
    const count = products.reduce((sum, { members }) => sum + members.length, 0);
    if (compressed.size !== count || this.#products.size !== products.length)
      throw planError('a product or a weight is planned twice');
    claimModelFolder(folder, source, options.replace ?? false);
    const kept = [...source.tensors.values()].filter(({ name }) => !compressed.has(name));
    this.#kept = kept.map(({ name }) => name);
    const groups: TensorGroup[] = [
      ...products.map((product) => ({ tensors: this.#planFactors(product) })),
      ...kept.map((tensor) => ({ tensors: [planKept(tensor, source)] })),
    ];
    this.#writer = new ShardedWriter(folder, groups, {
      ...(options.maximumShardBytes === undefined ? {} : { maximumShardBytes: options.maximumShardBytes }),
      metadata: (indices) => {
        const here = indices.flatMap((index) => products[index] ?? []).map((product) => this.#describe(product));
        return { format: 'pt', ...(here.length === 0 ? {} : { [metadataKey]: describeProducts(here) }) };
      },
    });
  }

  /** Bytes of all tensors. */
  get totalBytes(): number {
    return this.#writer.totalBytes;
  }

  /**
   * Packs and writes the factors of a product.
   * @returns values that became zero in the type of the file, for each factor.
   * @throws DoubleSparseError `unknown-name`, `shape-mismatch` when they are not as planned, `non-finite-value` (NaN,
   *   or beyond the range of the type: see balanceScales), `disk-full`, `file-unwritable`
   */
  writeProduct(name: string, factors: readonly Matrix[]): number[] {
    const plan = this.#products.get(name);
    if (!plan) throw new DoubleSparseError('unknown-name', `no product ${name} is planned`, { data: { name } });
    const actual = planProduct(name, factors, plan.members, plan.dtype);
    if (
      JSON.stringify([actual.factors, actual.members]) !== JSON.stringify([plan.factors, plan.members].map(plainCopy))
    ) {
      throw new DoubleSparseError('shape-mismatch', `${name}: the factors are not as planned`, {
        data: { name, planned: JSON.stringify(plan.factors), actual: JSON.stringify(actual.factors) },
      });
    }
    const vanished = factors.map((factor, index) => {
      const letter = factorNames[index] as string;
      const packed = packFactor(factor, this.#dtype(plan), `${name}.${letter}`);
      writeFactor(this.#writer, name, index, plan.factors[index] as PlannedFactor, packed);
      return packed.vanished;
    });
    this.#written.add(name);
    return vanished;
  }

  /** Copies the tensors that are kept and the side files, and names everything, config.json last. */
  finish(): void {
    const missing = [...this.#products.keys()].filter((name) => !this.#written.has(name));
    if (missing.length > 0) throw planError(`${missing.length} products were not written: ${missing.slice(0, 4)}`);
    try {
      for (const name of this.#kept) writeKept(name, this.#source, this.#writer);
      commitModelFolder(this.#writer, this.#source, compressedConfig(this.#source.config, this.#settings));
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  /** Removes what was written and has no name yet. */
  abort(): void {
    this.#writer.abort();
  }

  #dtype({ dtype, members }: PlannedProduct): WritableFloatType {
    return dtype ?? valueTypeOf(this.#source.tensors.get(members[0]!.weight)?.dtype ?? 'F16');
  }

  #describe({ name, factors, members }: PlannedProduct): ProductDescription {
    return {
      name,
      factors: factors.map(({ rows, columns }, index) => ({ name: factorNames[index]!, shape: [rows, columns] })),
      members: members.map(({ weight, rows, nonzeros }) => ({ weight, rows, values: nonzeros })),
    };
  }

  #planFactors(product: PlannedProduct): PlannedTensor[] {
    const dtype = this.#dtype(product);
    return product.factors.flatMap((factor, index) => planFactorTensors(product.name, index, factor, dtype));
  }
}

function planError(problem: string): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', problem);
}

export function compressedAlready({ path }: Checkpoint): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', `${path} is compressed already`, {
    data: { path },
    hint: 'compress the dense model',
  });
}

function plainCopy(list: readonly object[]): object[] {
  return list.map((item) => ({ ...item }));
}

function checkPlan(product: PlannedProduct, source: Checkpoint): PlannedProduct {
  const { name, factors, members } = product;
  const [a, b] = factors;
  if (!a || factors.length > 2 || members.length === 0) throw planError(`${name}: factors are A, or A and B`);
  if (b && a.columns !== b.rows) throw planError(`${name}: A has ${a.columns} columns, B ${b.rows} rows`);
  if (
    members.reduce((sum, { rows }) => sum + rows, 0) !== a.rows ||
    members.reduce((sum, { nonzeros }) => sum + nonzeros, 0) !== a.nonzeros
  )
    throw planError(`${name}: rows or nonzeros of the members are not those of A`);
  for (const { weight, rows } of members) {
    const shape = source.tensors.get(weight)?.shape;
    const columns = (b ?? a).columns;
    if (shape?.length !== 2 || shape[0] !== rows || shape[1] !== columns)
      throw planError(`${name}: ${weight} has shape [${shape}], planned is [${rows},${columns}]`);
  }
  return product;
}
