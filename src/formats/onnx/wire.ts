import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** A field of a message, undecoded. All arrays are views of the message. */
export interface WireField {
  readonly number: number;
  /** Tag, length and content, as they lie in the file. */
  readonly bytes: Uint8Array;
  /** The content of a length-delimited field (submessage, string, bytes), undefined for numbers. */
  readonly content: Uint8Array | undefined;
}

/**
 * Splits a protobuf message into its fields, without decoding them or copying.
 * @param maximumFields more are refused.
 * @throws Error when the message is cut off or no protobuf, RangeError for more than `maximumFields`.
 */
export function splitMessage(message: Uint8Array, maximumFields: number): WireField[] {
  const reader = new BinaryReader(message);
  const fields: WireField[] = [];
  while (reader.pos < reader.len) {
    if (fields.length === maximumFields) throw new RangeError(`a message of more than ${maximumFields} fields`);
    const begin = reader.pos;
    const [number, wireType] = reader.tag();
    const value = reader.pos;
    reader.skip(wireType, number);
    let content: Uint8Array | undefined;
    if (wireType === WireType.LengthDelimited) {
      const end = reader.pos;
      reader.pos = value;
      content = reader.bytes();
      reader.pos = end;
    }
    fields.push({ number, bytes: message.subarray(begin, reader.pos), content });
  }
  return fields;
}

/** Tag and length of a length-delimited field whose content has `length` bytes. */
export function fieldHeader(number: number, length: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
}
