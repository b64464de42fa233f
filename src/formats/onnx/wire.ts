import type { DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** A field of a message, undecoded. All arrays are views of the message. */
export interface WireField {
  readonly number: number;
  /** Tag, length and content, as they lie in the file. */
  readonly bytes: Uint8Array;
  /** The content of a length-delimited field (submessage, string, bytes), undefined for numbers. */
  readonly content: Uint8Array | undefined;
}

/** As deep as the decoder of @bufbuild/protobuf goes. */
const maximumDepth = 100;

/**
 * Walks through a message and all inside it, without decoding: a field of two bytes may take hundreds when decoded.
 * Packed numbers count as one field.
 * @throws Error when the message is cut off, no protobuf, nested too deep, or has more than `limit` fields.
 */
export function checkFieldCount(schema: DescMessage, message: Uint8Array, limit: number): void {
  const reader = new BinaryReader(message);
  let count = 0;
  const walk = (inside: DescMessage, end: number, depth: number): void => {
    if (depth > maximumDepth) throw new Error(`messages nested more than ${maximumDepth} deep`);
    while (reader.pos < end) {
      if (++count > limit) throw new Error(`more than ${limit} fields`);
      const [number, wireType] = reader.tag();
      const known = inside.fields.find((field) => field.number === number)?.message;
      if (!known || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const length = reader.uint32();
      if (reader.pos + length > end) throw new Error(`${known.typeName} ends behind the message that holds it`);
      walk(known, reader.pos + length, depth + 1);
    }
    if (reader.pos > end) throw new Error(`a field ends behind the ${inside.typeName} that holds it`);
  };
  walk(schema, message.byteLength, 0);
}

/**
 * Splits a protobuf message into its fields, without decoding them or copying.
 * @throws Error when the message is cut off or no protobuf.
 */
export function splitMessage(message: Uint8Array): WireField[] {
  const reader = new BinaryReader(message);
  const fields: WireField[] = [];
  while (reader.pos < reader.len) {
    const begin = reader.pos;
    const [number, wireType] = reader.tag();
    let content: Uint8Array | undefined;
    if (wireType === WireType.LengthDelimited) content = reader.bytes();
    else reader.skip(wireType, number);
    fields.push({ number, bytes: message.subarray(begin, reader.pos), content });
  }
  return fields;
}

/** Tag and length of a length-delimited field whose content has `length` bytes; they may be more than fit a file. */
export function fieldHeader(number: number, length: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint64(length).finish();
}
