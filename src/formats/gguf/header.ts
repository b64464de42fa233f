import { DoubleSparseError } from '../../errors.js';
import { elementCount } from '../../linalg/element-count.js';
import type { PositionalFile } from '../positional-file.js';
import { Cursor } from './cursor.js';
import { type MetadataValue, maximumEntries, readMetadata } from './metadata.js';
import { otherTypeNames, type TensorType, tensorTypes } from './types.js';

/** A 70B model has 723 tensors, the largest mixture of experts known about 2000. */
const maximumTensors = 1_000_000;
/** `GGML_MAX_DIMS` */
const maximumDimensions = 4;
const defaultAlignment = 32;
/** Larger ones only serve to push offsets out of range. */
const maximumAlignment = 1 << 20;

export interface GgufTensor {
  readonly name: string;
  /** In the order of Hugging Face, slowest first: the reverse of the file's. */
  readonly shape: readonly number[];
  readonly type: TensorType;
  /** First and one past the last byte, from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/**
 * Reads and checks everything before the tensor data of a GGUF file, version 2 or 3, little-endian
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 * @throws DoubleSparseError `file-malformed`; `file-unsupported` for tensor types we do not read (all of them named),
 *   versions, byte orders and split files.
 */
export function readGgufHeader(file: PositionalFile): GgufHeader {
  const cursor = new Cursor(file);
  const unsupported = (problem: string, hint: string): DoubleSparseError =>
    new DoubleSparseError('file-unsupported', `${file.path}: ${problem}`, { data: { path: file.path }, hint });
  if (file.size < 24) cursor.fail(`${file.size} bytes are too few for a GGUF file`);
  if (Buffer.from(cursor.bytes(4)).toString('latin1') !== 'GGUF') cursor.fail('it does not start with GGUF');
  const version = cursor.uint32();
  if (version > 0xffff) throw unsupported('it is big-endian', 'convert the model on a little-endian machine');
  if (version !== 2 && version !== 3) {
    throw unsupported(
      `GGUF version ${version}, versions 2 and 3 are read`,
      'convert the model with a current llama.cpp',
    );
  }
  // A tensor takes at least an empty name, one dimension, type and offset; an entry a name, a type and one byte.
  const tensorCount = cursor.count('tensors', maximumTensors, 8 + 4 + 8 + 4 + 8);
  const entryCount = cursor.count('metadata entries', maximumEntries, 8 + 4 + 1);
  const metadata = readMetadata(cursor, entryCount);
  const parts = metadata.get('split.count');
  if (typeof parts === 'number' && parts > 1) {
    throw unsupported(`it is one of ${parts} parts`, 'join them first: llama-gguf-split --merge FIRST_PART OUTPUT');
  }
  const tensors = readTensors(cursor, tensorCount, metadata, file, unsupported);
  return { version, metadata, tensors };
}

interface Declared {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly offset: number;
}

function readTensors(
  cursor: Cursor,
  count: number,
  metadata: ReadonlyMap<string, MetadataValue>,
  file: PositionalFile,
  unsupported: (problem: string, hint: string) => DoubleSparseError,
): Map<string, GgufTensor> {
  const declared: Declared[] = [];
  for (let i = 0; i < count; i++) declared.push(readDeclaration(cursor));
  const alignment = metadata.get('general.alignment') ?? defaultAlignment;
  if (
    typeof alignment !== 'number' ||
    alignment < 1 ||
    alignment > maximumAlignment ||
    !Number.isInteger(Math.log2(alignment))
  )
    cursor.fail(`the alignment is ${alignment}, not a power of two up to ${maximumAlignment}`);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;

  const foreign = declared.filter(({ type }) => !tensorTypes.has(type));
  if (foreign.length > 0) {
    const names = [...new Set(foreign.map(({ type }) => otherTypeNames.get(type) ?? `number ${type}`))];
    throw unsupported(
      `${foreign.length} tensors (${foreign[0]?.name}, …) are of type ${names.join(', ')}, which is not read`,
      `types that are read: ${[...tensorTypes.values()].map(({ name }) => name).join(', ')}`,
    );
  }
  const tensors = new Map<string, GgufTensor>();
  for (const { name, shape, type: id, offset } of declared) {
    const type = tensorTypes.get(id) as TensorType;
    if (tensors.has(name)) cursor.fail(`the tensor ${name} comes twice`);
    const values = elementCount(shape);
    const bytes = (values / type.values) * type.bytes;
    if (!Number.isSafeInteger(values) || !Number.isSafeInteger(bytes)) cursor.fail(`${name} has shape [${shape}]`);
    if ((shape.at(-1) as number) % type.values !== 0)
      cursor.fail(`rows of ${name} have ${shape.at(-1)} values, ${type.name} stores blocks of ${type.values}`);
    if (offset % alignment !== 0) cursor.fail(`${name} starts at ${offset}, not at a multiple of ${alignment}`);
    const begin = dataStart + offset;
    if (begin + bytes > file.size)
      cursor.fail(`${name} ends at byte ${begin + bytes}, the file at ${file.size}: it is truncated`);
    tensors.set(name, { name, shape, type, begin, end: begin + bytes });
  }
  const ordered = [...tensors.values()].sort((a, b) => a.begin - b.begin);
  for (const [i, tensor] of ordered.entries()) {
    const next = ordered[i + 1];
    if (next && next.begin < tensor.end) cursor.fail(`tensors ${tensor.name} and ${next.name} overlap`);
  }
  return tensors;
}

function readDeclaration(cursor: Cursor): Declared {
  const name = cursor.string('a tensor name', true);
  const dimensions = cursor.uint32();
  if (dimensions < 1 || dimensions > maximumDimensions)
    cursor.fail(`${name} has ${dimensions} dimensions, 1 to ${maximumDimensions} are allowed`);
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) {
    const length = cursor.uint64(`a dimension of ${name}`);
    if (length === 0) cursor.fail(`${name} has an empty dimension`);
    shape.unshift(length);
  }
  return { name, shape, type: cursor.uint32(), offset: cursor.uint64(`the offset of ${name}`) };
}
