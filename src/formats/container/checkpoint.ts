import { DoubleSparseError } from '../../errors.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import type { Checkpoint, CheckpointTensor, TokenizerFiles } from '../checkpoint.js';
import { areFinite } from '../dtype.js';
import { SafetensorsCheckpoint } from '../safetensors/checkpoint.js';
import { type Compression, compressionOf } from './accounting.js';
import { factorTensors, isFactorTensor, type StoredProduct, sourceConfig, storedProducts } from './description.js';
import { checkFactor, type PackedFactor, unpackFactor } from './packed-factor.js';
import { multiplyPacked } from './sparse-product.js';
import { readFactor, readRowsOfA } from './stored-factor.js';

/** A dense weight that is stored as rows of a product of sparse factors. */
interface Member {
  readonly product: StoredProduct;
  readonly firstRow: number;
  readonly rows: number;
  /** Values of A before and in its rows. */
  readonly firstValue: number;
  readonly values: number;
}

export interface CompressedCheckpointOptions {
  /** Multiplies two dense matrices into a third, for {@link CompressedCheckpoint.read}; plain code if absent. */
  readonly multiply?: (a: Matrix, b: Matrix, target: Matrix) => void;
}

/** A compressed model (docs/container.md). Weights are seen under their dense names; factors under their product's. */
export class CompressedCheckpoint implements Checkpoint {
  readonly format = 'double-sparse';
  readonly path: string;
  /** That of the dense model, with `quantization_config`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly products: ReadonlyMap<string, StoredProduct>;
  /** What each dense weight takes in the files. */
  readonly compression: ReadonlyMap<string, Compression>;
  readonly #inner: SafetensorsCheckpoint;
  readonly #members = new Map<string, Member>();
  readonly #multiply: CompressedCheckpointOptions['multiply'];

  /**
   * Reads config.json and headers.
   * @throws DoubleSparseError as {@link SafetensorsCheckpoint}; `file-malformed` when the description and the tensors
   *   disagree; `file-unsupported` for another version.
   */
  constructor(folder: string, options: CompressedCheckpointOptions = {}) {
    this.path = folder;
    this.#multiply = options.multiply;
    this.#inner = new SafetensorsCheckpoint(folder);
    try {
      this.config = sourceConfig(folder, this.#inner.config);
      this.products = this.#collectProducts();
      this.compression = new Map([...this.products.values()].flatMap((product) => compressionOf(product)));
      this.tensors = this.#denseTensors();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** A kept tensor, or the product A·B (A alone for a pruned weight) of a compressed one, expanded. */
  read(name: string, allocate: (rows: number, columns: number) => Matrix = zeros): Matrix {
    const member = this.#members.get(name);
    if (!member) return this.#inner.read(name, allocate);
    const { product, rows } = member;
    const a = readRowsOfA(member.product, member);
    const [, b] = product.factors;
    const target = this.#guarded(name, () => allocate(rows, (b ?? product.factors[0]!).shape[1]));
    if (!b) return unpackFactor(a, target, name);
    const packedB = readFactor(product, 1);
    if (!this.#multiply) return multiplyPacked(a, packedB, target, product.name);
    this.#multiply(
      unpackFactor(a, undefined, `${product.name}.A`),
      unpackFactor(packedB, undefined, `${product.name}.B`),
      target,
    );
    return target;
  }

  /**
   * The factors of a weight as dense matrices: its rows of A, and B, which stacked weights share; one matrix for a
   * pruned weight.
   * @throws DoubleSparseError `unknown-name` when the weight is not compressed, `file-malformed`
   */
  readFactors(name: string): Matrix[] {
    return this.readPackedFactors(name).map((factor) => unpackFactor(factor, undefined, name));
  }

  /** As {@link readFactors}, as they lie in the file. Checked. */
  readPackedFactors(name: string): PackedFactor[] {
    const member = this.#members.get(name);
    if (!member) {
      throw new DoubleSparseError('unknown-name', `${this.path} has no compressed weight ${name}`, {
        data: { path: this.path, name },
      });
    }
    const factors = [
      readRowsOfA(member.product, member),
      ...member.product.factors.slice(1).map((_, i) => readFactor(member.product, i + 1)),
    ];
    for (const factor of factors) checkFactor(factor, name);
    return factors;
  }

  /** The whole factors of a product, A with the rows of all its members. Checked. */
  readProduct(name: string): PackedFactor[] {
    const product = this.products.get(name);
    if (!product) {
      throw new DoubleSparseError('unknown-name', `${this.path} has no product ${name}`, {
        data: { path: this.path, name },
      });
    }
    return product.factors.map((factor, index) => {
      const packed = readFactor(product, index);
      checkFactor(packed, `${name}.${factor.name}`);
      return packed;
    });
  }

  /**
   * Reads all factors: population counts, padding bits, members' shares, no NaN or infinity.
   * @throws DoubleSparseError `file-malformed`, `non-finite-value`
   */
  verify(): void {
    for (const product of this.products.values()) {
      for (const { weight } of product.members)
        checkFactor(readRowsOfA(product, this.#members.get(weight) as Member), weight);
      for (const [index, factor] of product.factors.entries()) {
        const packed = readFactor(product, index);
        checkFactor(packed, `${product.name}.${factor.name}`);
        requireFinite(packed, `${product.name}.${factor.name}`);
      }
    }
  }

  /** Raw access to the tensors that are kept as they were. */
  get stored(): SafetensorsCheckpoint {
    return this.#inner;
  }

  tokenizerFiles(): TokenizerFiles {
    return this.#inner.tokenizerFiles();
  }

  close(): void {
    this.#inner.close();
  }

  #malformed(problem: string): DoubleSparseError {
    return new DoubleSparseError('file-malformed', `${this.path}: ${problem}`, {
      data: { path: this.path },
      hint: 'the compressed model is damaged; make or download it again',
    });
  }

  #collectProducts(): Map<string, StoredProduct> {
    const products = new Map<string, StoredProduct>();
    const used = new Set<string>();
    for (const product of this.#inner.files.flatMap((file) => storedProducts(file))) {
      if (products.has(product.name)) throw this.#malformed(`the product ${product.name} comes twice`);
      products.set(product.name, product);
      for (const { name } of product.factors) {
        for (const tensor of Object.values(factorTensors(product.name, name))) {
          if (used.has(tensor)) throw this.#malformed(`${tensor} belongs to two products`);
          used.add(tensor);
        }
      }
      this.#addMembers(product);
    }
    if (products.size === 0) throw this.#malformed('no file describes compressed weights');
    for (const name of this.#inner.tensors.keys()) {
      if (this.#members.has(name)) throw this.#malformed(`${name} is there both dense and compressed`);
      if (isFactorTensor(name) && !used.has(name))
        throw this.#malformed(`${name} belongs to no product that is described`);
    }
    return products;
  }

  #addMembers(product: StoredProduct): void {
    let [firstRow, firstValue] = [0, 0];
    for (const { weight, rows, values } of product.members) {
      if (this.#members.has(weight)) throw this.#malformed(`${weight} is part of two products`);
      this.#members.set(weight, { product, firstRow, rows, firstValue, values });
      firstRow += rows;
      firstValue += values;
    }
  }

  #denseTensors(): Map<string, CheckpointTensor> {
    const tensors = new Map<string, CheckpointTensor>();
    for (const [name, { shape, dtype, bytes }] of this.compression) tensors.set(name, { name, shape, dtype, bytes });
    for (const tensor of this.#inner.tensors.values()) {
      if (!isFactorTensor(tensor.name)) tensors.set(tensor.name, tensor);
    }
    return tensors;
  }

  #guarded<T>(name: string, allocate: () => T): T {
    try {
      return allocate();
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new DoubleSparseError('out-of-memory', `${this.path}: no memory for ${name} expanded`, {
        data: { path: this.path, name },
        cause,
      });
    }
  }
}

function requireFinite({ dtype, values }: PackedFactor, name: string): void {
  if (areFinite(dtype, values)) return;
  throw new DoubleSparseError('non-finite-value', `${name} holds a value that is not finite`, { data: { name } });
}
