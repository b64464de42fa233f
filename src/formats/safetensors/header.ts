import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { countJson, type JsonLimits } from '../json-file.js';

/** Bytes of a value by safetensors dtype name. */
export const valueBytes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** The cap of the reference implementation (100 MB): a longer header is a lie or an attack. */
export const maximumHeaderBytes = 100_000_000;
/** A header is a map of maps with two short lists; a million tensors of two dimensions have six million values. */
const headerLimits: JsonLimits = { bytes: maximumHeaderBytes, depth: 3, values: 8e6 };
/** No real weight has more; a longer shape only serves to overflow the product. */
const maximumDimensions = 8;

const tensorSchema = z.object({
  dtype: z.string(),
  shape: z.array(z.number().int().nonnegative()).max(maximumDimensions),
  data_offsets: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]),
});
const metadataSchema = z.record(z.string(), z.string());

export interface TensorInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First and one past the last byte, from the start of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Parses and checks the JSON header of a safetensors file (https://huggingface.co/docs/safetensors): known dtypes,
 * sizes that agree with shapes, ranges inside the file that do not overlap.
 * @param path for messages only.
 * @param fileBytes size of the whole file.
 * @throws DoubleSparseError `file-malformed`
 */
export function parseHeader(json: Uint8Array, path: string, fileBytes: number): SafetensorsHeader {
  const malformed = (problem: string, cause?: unknown): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${path}: ${problem}`, {
      data: { path },
      hint: 'the file is damaged or not safetensors; download it again',
      cause,
    });
  let parsed: unknown;
  let members: number;
  try {
    members = countJson(json, headerLimits).outermost;
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw malformed(`the header is not JSON that we accept: ${(cause as Error).message}`, cause);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw malformed('the header is not an object');
  const entries = Object.entries(parsed);
  if (entries.length !== members && entries.length > 0) throw malformed('the header names a tensor twice');
  const dataStart = 8 + json.byteLength;
  const tensors = new Map<string, TensorInfo>();
  let metadata = new Map<string, string>();
  for (const [name, value] of entries) {
    if (name === '__metadata__') {
      const result = metadataSchema.safeParse(value);
      if (!result.success) throw malformed('__metadata__ is not a map of strings');
      metadata = new Map(Object.entries(result.data));
      continue;
    }
    const result = tensorSchema.safeParse(value);
    if (!result.success) throw malformed(`tensor ${name}: ${z.prettifyError(result.error)}`);
    const { dtype, shape, data_offsets } = result.data;
    const bytes = Object.hasOwn(valueBytes, dtype) ? valueBytes[dtype] : undefined;
    if (bytes === undefined) throw malformed(`tensor ${name} has the unknown dtype ${dtype}`);
    const size = shape.reduce((product, dimension) => product * dimension, bytes);
    const [begin, end] = data_offsets;
    if (!Number.isSafeInteger(size) || end - begin !== size) {
      throw malformed(
        `tensor ${name}: ${dtype} of shape [${shape}] takes ${size} bytes, its offsets give ${end - begin}`,
      );
    }
    if (dataStart + end > fileBytes) {
      throw malformed(`tensor ${name} ends at byte ${dataStart + end}, the file at ${fileBytes}: it is truncated`);
    }
    tensors.set(name, { name, dtype, shape, begin: dataStart + begin, end: dataStart + end });
  }
  const ordered = [...tensors.values()].filter(({ begin, end }) => end > begin).sort((a, b) => a.begin - b.begin);
  for (const [index, tensor] of ordered.entries()) {
    const next = ordered[index + 1];
    if (next && next.begin < tensor.end) throw malformed(`tensors ${tensor.name} and ${next.name} overlap`);
  }
  return { tensors, metadata };
}
