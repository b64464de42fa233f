import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { TensorProto } from '../../formats/onnx/proto/onnx_pb.js';
import { elementCount } from '../../linalg/element-count.js';
import { firstNonFinite } from '../../linalg/finite.js';
import { sharedZeros } from '../../linalg/shared-matrix.js';
import type { FloatConstant } from '../../models/cnn/constants.js';
import type { PackedTensors } from '../../models/cnn/unpack-constants.js';
import { FlatValues } from '../../training/flat-values.js';
import type { Weight } from '../../training/operations/context.js';
import type { Parameter } from '../../training/parameter.js';
import { sharedPositions } from '../../training/support.js';
import type { trainedKinds } from '../finetune-options.js';

/** Where the values of a tensor are in the flat array. */
export interface StoredTensor {
  readonly constant: FloatConstant;
  readonly offset: number;
  /** Places of the values among the entries of the tensor, ascending; the other entries are zero. */
  readonly places: Uint32Array;
  /** Of a packed tensor: zero, then the values. */
  readonly packed?: TensorProto | undefined;
}

/**
 * The tensors of a model as matrices in shared memory, and the values of those that are trained: of packed tensors the
 * bits of their masks, whatever the values, of others the nonzeros.
 */
export class GraphWeights {
  readonly #model: OnnxModel;
  readonly #packed: ReadonlyMap<string, PackedTensors>;
  readonly #trained: ReadonlySet<(typeof trainedKinds)[number]>;
  readonly #known = new Map<string, Weight>();
  readonly #values = new FlatValues();
  readonly stored: StoredTensor[] = [];
  readonly parameters: Parameter[] = [];

  /**
   * @param model without packed tensors.
   * @param packed how those lay that were packed, by name.
   * @param trained kinds of what is trained; none for a model that only runs.
   */
  constructor(
    model: OnnxModel,
    packed: ReadonlyMap<string, PackedTensors>,
    trained: readonly (typeof trainedKinds)[number][],
  ) {
    this.#model = model;
    this.#packed = packed;
    this.#trained = new Set(trained);
  }

  /** out x (places of the kernel * channels of a group), of a tensor out x channels x kernel. */
  convolution(constant: FloatConstant): Weight {
    const [out, channels, ...kernel] = constant.shape as [number, number, ...number[]];
    const places = elementCount(kernel);
    const position = (i: number): number => {
      const [place, rest] = [i % places, Math.floor(i / places)];
      const [channel, row] = [rest % channels, Math.floor(rest / channels)];
      return (row * places + place) * channels + channel;
    };
    return this.#weight('linear', constant, out, channels * places, places === 1 ? identity : position);
  }

  /** out x in. @param transposed is the tensor in x out? */
  product(constant: FloatConstant, transposed: boolean): Weight {
    const [first, second] = constant.shape as [number, number];
    if (!transposed) return this.#weight('linear', constant, first, second, identity);
    return this.#weight('linear', constant, second, first, (i) => (i % second) * first + Math.floor(i / second));
  }

  /** 1 x channels, of a normalisation. */
  normalization(constant: FloatConstant): Weight {
    return this.#weight('norms', constant, 1, elementCount(constant.shape), identity);
  }

  /** 1 x channels, added to outputs. */
  bias(constant: FloatConstant): Weight {
    return this.#weight('biases', constant, 1, elementCount(constant.shape), identity);
  }

  /** 1 x channels, not trained. */
  fixed(constant: FloatConstant): Weight {
    return this.#weight(undefined, constant, 1, elementCount(constant.shape), identity);
  }

  /** All trained values, in shared memory. */
  finish(): Float32Array {
    return this.#values.shared();
  }

  /** @param position in the matrix of an entry of the tensor. */
  #weight(
    kind: (typeof trainedKinds)[number] | undefined,
    constant: FloatConstant,
    rows: number,
    columns: number,
    position: (entry: number) => number,
  ): Weight {
    const known = this.#known.get(constant.name);
    if (known?.value.rows === rows && known.value.columns === columns) return known;
    if (known) throw this.#refused(constant, 'is read in two shapes');
    const entries = this.#model.readFloats(constant.tensor);
    const bad = firstNonFinite(entries);
    if (bad >= 0) {
      throw new DoubleSparseError('non-finite-value', `${constant.name} holds ${entries[bad]} at index ${bad}`, {
        data: { name: constant.name, index: bad },
        hint: 'the model itself is damaged: export it again',
      });
    }
    const value = sharedZeros(rows, columns);
    for (const [i, entry] of entries.entries()) value.data[position(i)] = entry;
    const trained = kind !== undefined && this.#trained.has(kind);
    const weight = trained
      ? { value, parameter: this.#parameter(kind, constant, entries, value, position) }
      : { value };
    this.#known.set(constant.name, weight);
    return weight;
  }

  #parameter(
    kind: (typeof trainedKinds)[number],
    constant: FloatConstant,
    entries: Float32Array,
    target: Weight['value'],
    position: (entry: number) => number,
  ): Parameter {
    const packed = this.#packed.get(constant.name);
    const all = Uint32Array.from(entries.keys());
    // Zeros of a weight stay; a shift of zero is no support, and a value that vanished in its type is one.
    const places = packed?.places ?? (kind === 'linear' ? all.filter((i) => entries[i] !== 0) : all);
    const values = Float32Array.from(places, (i) => entries[i] as number);
    const [offset, count] = [this.#values.append(values), values.length];
    this.stored.push({ constant, offset, places, packed: packed?.values });
    const { rows, columns } = target;
    const parameter: Parameter = {
      target,
      factors: [{ rows, columns, offset, count, positions: sharedPositions(places.map(position)) }],
    };
    this.parameters.push(parameter);
    return parameter;
  }

  #refused({ name }: FloatConstant, problem: string): DoubleSparseError {
    const { path } = this.#model;
    return new DoubleSparseError('file-unsupported', `${path}: ${name} ${problem}`, { data: { path, name } });
  }
}

const identity = (entry: number): number => entry;
