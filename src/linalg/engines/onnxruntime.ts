import { createRequire } from 'node:module';
import type * as Wire from '@bufbuild/protobuf/wire';
import type { env as Environment, Tensor as OnnxTensor, TensorConstructor } from 'onnxruntime-node';
import { DoubleSparseError } from '../../errors.js';
import type { Block, Engine } from '../engine.js';
import { scaleBlock, updateBlock } from './update.js';

/** Staging buffers are kept for the next call up to this many floats each (64 MiB); larger ones are dropped again. */
const keptStagingLength = 1 << 24;

/** The synchronous session inside onnxruntime-node; its public API wraps the same calls into promises. */
interface Session {
  loadModel(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, options: object): void;
  run(feeds: Record<string, OnnxTensor>, fetches: Record<string, OnnxTensor>, options: object): unknown;
  dispose(): void;
}

interface Runtime {
  readonly version: string;
  readonly Tensor: TensorConstructor;
  readonly InferenceSession: new () => Session;
  readonly wire: typeof Wire;
}

/** Loads when asked: threads that use another engine are spared the memory. */
function loadRuntime(): Runtime {
  const load = createRequire(import.meta.url);
  try {
    const { env, Tensor } = load('onnxruntime-node') as { env: typeof Environment; Tensor: TensorConstructor };
    const { binding, initOrt } = load('onnxruntime-node/dist/binding.js');
    const wire = load('@bufbuild/protobuf/wire') as typeof Wire;
    initOrt();
    return {
      version: env.versions.node ?? 'of unknown version',
      Tensor,
      InferenceSession: binding.InferenceSession,
      wire,
    };
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0] as string;
    throw new DoubleSparseError('engine-unavailable', `onnxruntime-node could not be loaded (${reason})`, {
      data: { platform: process.platform, architecture: process.arch, reason },
      hint: 'npm install onnxruntime-node, if it has binaries for this platform, or use --engine wasm',
      cause,
    });
  }
}

/**
 * Matrix products by the kernels inside onnxruntime-node, which need no system library.
 * @throws DoubleSparseError `engine-unavailable` when the package or its binary for this platform is missing.
 */
export function createOnnxruntimeEngine(): Engine {
  const { version, Tensor, InferenceSession, wire } = loadRuntime();
  const sessions = new Map<string, Session>();
  let threads = 1;
  const stage = { a: new Staging(), b: new Staging(), c: new Staging() };

  /** One session for each combination of transposes, made when first asked for. */
  function session(transposeA: boolean, transposeB: boolean): Session {
    const key = `${transposeA},${transposeB}`;
    let found = sessions.get(key);
    if (found === undefined) {
      found = new InferenceSession();
      const model = gemmModel(wire, transposeA, transposeB);
      found.loadModel(model.buffer, model.byteOffset, model.byteLength, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // Both would keep memory for shapes seen once; the output is ours anyway.
        enableCpuMemArena: false,
        enableMemPattern: false,
        // Spinning threads win some percent inside a product and take the core from all that runs between products.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      });
      sessions.set(key, found);
    }
    return found;
  }

  const input = (block: Block, staging: Staging): OnnxTensor =>
    new Tensor('float32', isTensorData(block) ? dense(block) : staging.load(block), [block.rows, block.columns]);

  return {
    name: 'onnxruntime',
    description: `onnxruntime ${version}, bundled kernels`,
    setThreads(wanted) {
      const next = Math.max(1, Math.floor(wanted));
      if (next !== threads) {
        for (const each of sessions.values()) each.dispose();
        sessions.clear();
        threads = next;
      }
      return threads;
    },
    gemm(a, b, c, { transposeA, transposeB, alpha, beta }) {
      if (c.rows === 0 || c.columns === 0) return;
      if ((transposeA ? a.rows : a.columns) === 0) return scaleBlock(c, beta);
      const direct = alpha === 1 && beta === 0 && isTensorData(c);
      const product = direct ? dense(c) : stage.c.room(c.rows * c.columns);
      session(transposeA, transposeB).run(
        { a: input(a, stage.a), b: input(b, stage.b) },
        { c: new Tensor('float32', product, [c.rows, c.columns]) },
        {},
      );
      if (!direct) updateBlock(c, product, c.columns, alpha, beta);
      for (const each of Object.values(stage)) each.trim();
    },
  };
}

/** Can the binding read this block where it is? It refuses shared memory and knows no strides. */
function isTensorData(block: Block): boolean {
  return block.stride === block.columns && !(block.data.buffer instanceof SharedArrayBuffer);
}

function dense(block: Block): Float32Array {
  return block.data.subarray(block.offset, block.offset + block.rows * block.columns);
}

/** A reused buffer for one operand. */
class Staging {
  #buffer = new Float32Array(0);

  /** `length` floats that hold anything. */
  room(length: number): Float32Array {
    if (this.#buffer.length < length) this.#buffer = new Float32Array(length);
    return this.#buffer.subarray(0, length);
  }

  /** The block's entries without gaps between rows. */
  load(block: Block): Float32Array {
    const { data, offset, stride, rows, columns } = block;
    const target = this.room(rows * columns);
    if (stride === columns) target.set(data.subarray(offset, offset + rows * columns));
    else
      for (let i = 0; i < rows; i++)
        target.set(data.subarray(offset + i * stride, offset + i * stride + columns), i * columns);
    return target;
  }

  trim(): void {
    if (this.#buffer.length > keptStagingLength) this.#buffer = new Float32Array(0);
  }
}

type Fields = readonly (readonly [number: number, value: number | string | Fields])[];

function write(writer: Wire.BinaryWriter, fields: Fields, wire: typeof Wire): Wire.BinaryWriter {
  const { WireType } = wire;
  for (const [number, value] of fields) {
    if (typeof value === 'number') writer.tag(number, WireType.Varint).int64(value);
    else if (typeof value === 'string') writer.tag(number, WireType.LengthDelimited).string(value);
    else write(writer.tag(number, WireType.LengthDelimited).fork(), value, wire).join();
  }
  return writer;
}

/** An ONNX model c = op(a) * op(b): one Gemm node, every dimension free. Field numbers are those of onnx.proto. */
function gemmModel(wire: typeof Wire, transposeA: boolean, transposeB: boolean): Uint8Array {
  const float = 1;
  const integerAttribute = 2;
  const attribute = (name: string, value: boolean): Fields => [
    [1, name],
    [3, Number(value)],
    [20, integerAttribute],
  ];
  const matrix = (name: string): Fields => {
    const dimension = (suffix: string): Fields => [[2, name + suffix]];
    const shape: Fields = [
      [1, dimension('Rows')],
      [1, dimension('Columns')],
    ];
    return [
      [1, name],
      [
        2,
        [
          [
            1,
            [
              [1, float],
              [2, shape],
            ],
          ],
        ],
      ],
    ];
  };
  const node: Fields = [
    [1, 'a'],
    [1, 'b'],
    [2, 'c'],
    [4, 'Gemm'],
    [5, attribute('transA', transposeA)],
    [5, attribute('transB', transposeB)],
  ];
  const graph: Fields = [
    [1, node],
    [2, 'product'],
    [11, matrix('a')],
    [11, matrix('b')],
    [12, matrix('c')],
  ];
  const irVersion = 8;
  const operatorSet: Fields = [
    [1, ''],
    [2, 13],
  ];
  return write(
    new wire.BinaryWriter(),
    [
      [1, irVersion],
      [7, graph],
      [8, operatorSet],
    ],
    wire,
  ).finish();
}
