import type { Cursor } from './cursor.js';

/**
 * Types of metadata values by their numbers in the file
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, `gguf_metadata_value_type`).
 */
const scalarTypes = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;
type ValueType = (typeof scalarTypes)[number];

const minimumBytes: Readonly<Record<ValueType, number>> = {
  u8: 1,
  i8: 1,
  bool: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  string: 8,
  array: 12,
};

/** 32 entries are usual, a few hundred the most seen. */
export const maximumEntries = 65_536;
/** Items of all arrays together: 262k tokens with scores and types and 580k merges are 1.4M. */
const maximumArrayItems = 16_000_000;
/** The format allows arrays of arrays; no known model has them. */
const maximumArrayDepth = 3;

/** Integers beyond 2^53 stay bigint. Arrays of numbers are numbers one by one, of strings strings. */
export type MetadataValue = number | bigint | boolean | string | readonly MetadataValue[];

/** @throws DoubleSparseError `file-malformed` */
export function readMetadata(cursor: Cursor, count: number): Map<string, MetadataValue> {
  const entries = new Map<string, MetadataValue>();
  const budget = { items: maximumArrayItems };
  for (let i = 0; i < count; i++) {
    const key = cursor.string('a metadata key', true);
    if (entries.has(key)) cursor.fail(`the metadata key ${key} comes twice`);
    entries.set(key, readValue(cursor, readType(cursor, key), key, budget, 0));
  }
  return entries;
}

function readType(cursor: Cursor, key: string): ValueType {
  const id = cursor.uint32();
  return scalarTypes[id] ?? cursor.fail(`${key} has the unknown value type ${id}`);
}

function readValue(
  cursor: Cursor,
  type: ValueType,
  key: string,
  budget: { items: number },
  depth: number,
): MetadataValue {
  if (type === 'string') return cursor.string(key);
  if (type !== 'array') return readScalars(cursor, type, 1)[0] as MetadataValue;
  if (depth >= maximumArrayDepth) cursor.fail(`${key} has more than ${maximumArrayDepth} levels of arrays`);
  const item = readType(cursor, key);
  const length = cursor.count(`items of ${key}`, budget.items, minimumBytes[item]);
  budget.items -= length;
  const items: MetadataValue[] = [];
  if (item === 'string' || item === 'array') {
    for (let i = 0; i < length; i++) items.push(readValue(cursor, item, key, budget, depth + 1));
    return items;
  }
  const atOnce = 8192;
  for (let i = 0; i < length; i += atOnce) {
    for (const value of readScalars(cursor, item, Math.min(atOnce, length - i))) items.push(value);
  }
  return items;
}

function readScalars(cursor: Cursor, type: ValueType, count: number): MetadataValue[] {
  const size = minimumBytes[type];
  const view = new DataView(cursor.bytes(size * count).buffer);
  return Array.from({ length: count }, (_, i) => decode(view, i * size, type));
}

function decode(view: DataView, at: number, type: ValueType): MetadataValue {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'i8':
      return view.getInt8(at);
    case 'bool':
      return view.getUint8(at) !== 0;
    case 'u16':
      return view.getUint16(at, true);
    case 'i16':
      return view.getInt16(at, true);
    case 'u32':
      return view.getUint32(at, true);
    case 'i32':
      return view.getInt32(at, true);
    case 'f32':
      return view.getFloat32(at, true);
    case 'f64':
      return view.getFloat64(at, true);
    default: {
      const value = type === 'u64' ? view.getBigUint64(at, true) : view.getBigInt64(at, true);
      return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(value)
        : value;
    }
  }
}
