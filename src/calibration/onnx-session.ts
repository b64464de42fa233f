import { createRequire } from 'node:module';
import type * as Onnxruntime from 'onnxruntime-node';
import { DoubleSparseError } from '../errors.js';
import { decodeFloats, encodeFloats } from '../formats/dtype.js';
import { elementCount } from '../linalg/element-count.js';
import type { Tensor } from './tensor.js';

/** An input or output of a model, as it declares them. */
export interface SessionTensor {
  readonly name: string;
  /** Element type in onnxruntime's words: float32, float16, int64, … */
  readonly type: string;
  /** Sizes; a name where any size goes. Empty for a scalar, and where the model states no shape. */
  readonly dims: readonly (number | string)[];
}

export interface SessionOptions {
  /** For messages: path of the model. */
  path: string;
  /** Threads inside an operator (default 1). The results of a convolution may depend on it by rounding. */
  threads?: number;
}

/** Types that fp32 feeds are converted to. */
const feedTypes = ['float32', 'float16', 'float64'];

/**
 * An ONNX model opened with onnxruntime. Its tensors are fp32 outside, whatever they are inside. Memory is outside of
 * JavaScript's heap: close it.
 */
export class OnnxSession {
  readonly path: string;
  readonly inputs: readonly SessionTensor[];
  readonly outputs: readonly SessionTensor[];
  readonly #runtime: typeof Onnxruntime;
  #session: Onnxruntime.InferenceSession | undefined;

  private constructor(runtime: typeof Onnxruntime, session: Onnxruntime.InferenceSession, path: string) {
    this.path = path;
    this.#runtime = runtime;
    this.#session = session;
    this.inputs = session.inputMetadata.map(described);
    this.outputs = session.outputMetadata.map(described);
  }

  /**
   * @param model bytes of an .onnx file without external data.
   * @throws DoubleSparseError `engine-unavailable` without onnxruntime-node, `file-unsupported` naming an operator that
   *   it does not know, `file-malformed` for anything else it refuses, `option-out-of-range` (threads)
   */
  static async open(model: Uint8Array, { path, threads = 1 }: SessionOptions): Promise<OnnxSession> {
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
      throw new DoubleSparseError('option-out-of-range', `${threads} threads: 1 to 1024 are possible`, {
        data: { option: 'threads', value: threads, limit: 1024 },
      });
    }
    if (model.byteLength === 0) throw refusedModel(path, new Error('it is empty'));
    const runtime = loadRuntime();
    try {
      const session = await runtime.InferenceSession.create(model, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // Errors come as exceptions; its own lines on standard error would be a second telling.
        logSeverityLevel: 4,
        // Spinning threads take the cores from what runs between two batches.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      });
      return new OnnxSession(runtime, session, path);
    } catch (cause) {
      throw refusedModel(path, cause);
    }
  }

  /**
   * Runs one batch.
   * @param feeds one tensor an input.
   * @param outputs names of those wanted (default: all).
   * @returns outputs by name. Integers and booleans become floats too; of 64 bits to 24 bits of precision.
   * @throws DoubleSparseError `unknown-name` (an input that is missing or not there), `shape-mismatch`,
   *   `file-unsupported` (feeds or outputs that are no numbers; the model fails when it is run)
   */
  async run(feeds: Readonly<Record<string, Tensor>>, outputs?: readonly string[]): Promise<Record<string, Tensor>> {
    const session = this.#session;
    if (!session) throw this.#failed(new Error('it has been closed'));
    for (const name of Object.keys(feeds)) this.#known('input', this.inputs, name);
    for (const name of outputs ?? []) this.#known('output', this.outputs, name);
    const given: Record<string, Onnxruntime.Tensor> = {};
    for (const input of this.inputs) given[input.name] = this.#feed(input, feeds[input.name]);
    let results: Readonly<Record<string, Onnxruntime.OnnxValue>>;
    try {
      results = await session.run(given, outputs ?? session.outputNames);
    } catch (cause) {
      throw this.#failed(cause);
    }
    return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, this.#decoded(name, value)]));
  }

  /** Frees the model; a second call does nothing. */
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  #known(kind: 'input' | 'output', all: readonly SessionTensor[], name: string): void {
    const names = all.map((each) => each.name);
    if (names.includes(name)) return;
    throw new DoubleSparseError('unknown-name', `${this.path} has no ${kind} "${name}"`, {
      data: { path: this.path, name, names },
      hint: `it has ${names.join(', ')}`,
    });
  }

  #feed({ name, type, dims }: SessionTensor, value: Tensor | undefined): Onnxruntime.Tensor {
    if (value === undefined) {
      throw new DoubleSparseError('unknown-name', `${this.path}: nothing was given for the input "${name}"`, {
        data: { path: this.path, name },
        hint: 'models with one input, the images, can be run',
      });
    }
    if (!feedTypes.includes(type)) {
      throw new DoubleSparseError('file-unsupported', `${this.path}: the input "${name}" is of type ${type}`, {
        data: { path: this.path, name, type },
        hint: `inputs of ${feedTypes.join(', ')} can be fed`,
      });
    }
    const fits =
      value.data.length === elementCount(value.dims) &&
      (dims.length === 0 ||
        (dims.length === value.dims.length &&
          dims.every((size, at) => typeof size === 'string' || size === value.dims[at])));
    if (!fits) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `${this.path}: the input "${name}" is [${dims}], got [${value.dims}]`,
        {
          data: { path: this.path, name, dims, got: value.dims },
          hint:
            dims.length === 4
              ? 'bring images into this size with --resize and --crop, their layout with --layout, their channels with --channels'
              : 'give a .npy array with entries of this shape',
        },
      );
    }
    const { Tensor: OnnxTensor } = this.#runtime;
    if (type === 'float32') return new OnnxTensor('float32', unshared(value.data), value.dims);
    if (type === 'float64') return new OnnxTensor('float64', Float64Array.from(value.data), value.dims);
    const halves = new Uint16Array(value.data.length);
    encodeFloats('F16', value.data, new Uint8Array(halves.buffer));
    return new OnnxTensor('float16', halves, value.dims);
  }

  #decoded(name: string, value: Onnxruntime.OnnxValue): Tensor {
    const { type, dims, data } = value as Onnxruntime.Tensor;
    if (type === 'float32') return { dims, data: data as Float32Array };
    // Node 24 has arrays of fp16, older ones give the bits.
    if (type === 'float16') {
      const { buffer, byteOffset, byteLength } = data as Uint16Array;
      return { dims, data: decodeFloats('F16', new Uint8Array(buffer, byteOffset, byteLength)) };
    }
    if (ArrayBuffer.isView(data) && type !== 'uint4' && type !== 'int4')
      return { dims, data: Float32Array.from(data as unknown as ArrayLike<number>, Number) };
    throw new DoubleSparseError('file-unsupported', `${this.path}: the output "${name}" is of type ${type}`, {
      data: { path: this.path, name, type },
    });
  }

  #failed(cause: unknown): DoubleSparseError {
    const reason = reasonOf(cause);
    return new DoubleSparseError('file-unsupported', `${this.path} could not be run: ${reason}`, {
      data: { path: this.path, reason },
      hint: 'does it run in onnxruntime by itself? A fixed batch size asks for --batch-size',
      cause,
    });
  }
}

function described(metadata: Onnxruntime.InferenceSession.ValueMetadata): SessionTensor {
  if (!metadata.isTensor) return { name: metadata.name, type: 'no tensor', dims: [] };
  return { name: metadata.name, type: metadata.type, dims: metadata.shape };
}

/** The binding refuses shared memory. */
function unshared(data: Float32Array): Float32Array {
  return data.buffer instanceof SharedArrayBuffer ? new Float32Array(data) : data;
}

function loadRuntime(): typeof Onnxruntime {
  try {
    return createRequire(import.meta.url)('onnxruntime-node');
  } catch (cause) {
    const reason = reasonOf(cause);
    throw new DoubleSparseError('engine-unavailable', `onnxruntime-node could not be loaded (${reason})`, {
      data: { platform: process.platform, architecture: process.arch, reason },
      hint: 'npm install onnxruntime-node, if it has binaries for this platform',
      cause,
    });
  }
}

/** The ways in which onnxruntime says that it lacks an operator. */
const unknownOperator = [
  /No Op registered for (\S+) with domain_version of (\d+)/,
  /Could not find an implementation for (\S+?)\((\d+)\)/,
  /Fatal error: (\S+?)\((-?\d+)\) is not a registered function\/op/,
];

function refusedModel(path: string, cause: unknown): DoubleSparseError {
  const reason = reasonOf(cause);
  for (const pattern of unknownOperator) {
    const operator = pattern.exec(reason)?.[1];
    if (operator === undefined) continue;
    return new DoubleSparseError('file-unsupported', `${path}: onnxruntime has no operator ${operator} (${reason})`, {
      data: { path, operator, reason },
      hint: 'export the model with standard operators, of an operator set that onnxruntime knows',
      cause,
    });
  }
  return new DoubleSparseError('file-malformed', `onnxruntime refuses ${path}: ${reason}`, {
    data: { path, reason },
    hint: 'does it pass the ONNX checker? Weights in files beside it must be put into it first',
    cause,
  });
}

const reasonOf = (cause: unknown): string =>
  (cause instanceof Error ? cause.message : String(cause)).trim().replaceAll(/\s*\n\s*/g, ' ');
