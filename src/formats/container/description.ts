import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { isFloatType, type WritableFloatType } from '../dtype.js';
import { type JsonLimits, parseJson } from '../json-file.js';
import type { SafetensorsFile } from '../safetensors/reader.js';
import { maskStride } from './bitmask.js';
import { positionsWithin } from './gaps.js';

/**
 * In config.json: `quantization_config.quant_method`, and in place of `model_type`: transformers 5 only warns of an
 * unknown quant_method and then runs the model with random weights, but refuses an unknown model_type.
 */
export const quantizationMethod = 'double-sparse';
/** The version that is written and the only one that is read. */
const containerVersion = 1;
/** Key of the JSON text in the header metadata of every safetensors file that holds factors. */
export const metadataKey = 'double_sparse';
/** A product's factors by their place in it. */
export const factorNames = ['A', 'B'] as const;

const limits: JsonLimits = { bytes: 100e6, depth: 8, values: 8e6 };
/**
 * A dense weight may take this many times the bytes of its factors, or {@link smallWeightBytes}: a factor of one
 * column can claim a product that no memory holds. Real ones are below 100 (sparsity 0.99).
 */
const maximumExpansion = 1024;
const smallWeightBytes = 64e6;

const size = z
  .number()
  .int()
  .positive()
  .max(2 ** 31);
const productSchema = z.strictObject({
  name: z.string().min(1).max(1024),
  factors: z
    .array(z.strictObject({ name: z.enum(['A', 'B']), shape: z.tuple([size, size]) }))
    .min(1)
    .max(2),
  members: z
    .array(z.strictObject({ weight: z.string().min(1).max(1024), rows: size, values: z.number().int().nonnegative() }))
    .min(1)
    .max(64),
});
const descriptionSchema = z.strictObject({ version: z.literal(containerVersion), products: z.array(productSchema) });

/** A sparse matrix of a product: tensors `PRODUCT.NAME.values`, and `PRODUCT.NAME.bitmask` or `PRODUCT.NAME.gaps`. */
interface FactorDescription {
  readonly name: 'A' | 'B';
  readonly shape: readonly [number, number];
}

/** A weight that is some rows of a product: consecutive ones, in the order of the members. */
interface MemberDescription {
  /** Name of the dense tensor, [rows, columns of the last factor]. */
  readonly weight: string;
  readonly rows: number;
  /** Values of the first factor in these rows. */
  readonly values: number;
}

/** One sparse matrix A, or a product A·B; several weights with the same inputs may be its rows. */
export interface ProductDescription {
  readonly name: string;
  readonly factors: readonly FactorDescription[];
  readonly members: readonly MemberDescription[];
}

/** A product with the file that holds its tensors. */
export interface StoredProduct extends ProductDescription {
  readonly file: SafetensorsFile;
  readonly dtype: WritableFloatType;
  /** Values of each factor. */
  readonly counts: readonly number[];
  /** How the support of each factor is stored. */
  readonly supports: readonly StoredSupport[];
}

/** One bit a position, or four bits a gap (see {@link encodeGaps}). */
export interface StoredSupport {
  readonly form: 'bitmask' | 'gaps';
  readonly bytes: number;
}

/** Names of a factor's tensors, of which either `bitmask` or `gaps` is there. */
export function factorTensors(product: string, factor: string): Record<'values' | 'bitmask' | 'gaps', string> {
  const prefix = `${product}.${factor}`;
  return { values: `${prefix}.values`, bitmask: `${prefix}.bitmask`, gaps: `${prefix}.gaps` };
}

/** Is this the name of a tensor of a factor? */
export function isFactorTensor(name: string): boolean {
  return /\.[AB]\.(values|bitmask|gaps)$/.test(name);
}

/** The text for the header metadata. */
export function describeProducts(products: readonly ProductDescription[]): string {
  const plain = products.map(({ name, factors, members }) => ({ name, factors, members }));
  return JSON.stringify({ version: containerVersion, products: plain });
}

/**
 * The products of one safetensors file, checked against its tensors: types, shapes, inner dimensions, rows and value
 * counts. Population counts need the data and are checked when it is read.
 * @throws DoubleSparseError `file-malformed`, `file-unsupported` for another version.
 */
export function storedProducts(file: SafetensorsFile): StoredProduct[] {
  const text = file.header.metadata.get(metadataKey);
  if (text === undefined) return [];
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${file.path}: ${problem}`, {
      data: { path: file.path },
      hint: 'the compressed model is damaged; make or download it again',
    });
  const value = parseJson(Buffer.from(text), `${file.path}: header metadata ${metadataKey}`, limits);
  const version = (value as { version?: unknown } | null)?.version;
  if (version !== containerVersion) throw unsupportedVersion(file.path, version);
  const result = descriptionSchema.safeParse(value);
  if (!result.success) throw malformed(`header metadata ${metadataKey}: ${z.prettifyError(result.error)}`);
  return result.data.products.map((product) => checkProduct(file, product, malformed));
}

/** `model_type` and `architectures` of the dense model, in `quantization_config.source`. */
const sourceSchema = z.object({ model_type: z.unknown(), architectures: z.unknown() }).partial();

/** config.json of a compressed model from that of its source. */
export function compressedConfig(
  source: Readonly<Record<string, unknown>>,
  settings: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { model_type, architectures } = source;
  return {
    ...source,
    model_type: quantizationMethod,
    architectures: [quantizationMethod],
    quantization_config: {
      ...settings,
      quant_method: quantizationMethod,
      version: containerVersion,
      source: { model_type, architectures },
    },
  };
}

/**
 * The configuration of the dense model with `quantization_config`, from config.json of a compressed one.
 * @throws DoubleSparseError `file-unsupported` for another method or version, `file-malformed`
 */
export function sourceConfig(path: string, config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { quant_method: method, version, source } = (config.quantization_config ?? {}) as Record<string, unknown>;
  if (method !== quantizationMethod) {
    throw new DoubleSparseError('file-unsupported', `${path} is not a ${quantizationMethod} model`, {
      data: { path, method: String(method) },
    });
  }
  if (version !== containerVersion) throw unsupportedVersion(path, version);
  const result = sourceSchema.safeParse(source);
  if (!result.success) {
    throw new DoubleSparseError('file-malformed', `${path}: quantization_config.source of config.json is damaged`, {
      data: { path },
    });
  }
  const { model_type: _, architectures: __, ...rest } = config;
  return { ...rest, ...result.data };
}

/** The error for a version that is not read, or that is no version. */
function unsupportedVersion(path: string, version: unknown): DoubleSparseError {
  return new DoubleSparseError(
    Number.isInteger(version) ? 'file-unsupported' : 'file-malformed',
    `${path} has version ${JSON.stringify(version)} of the compressed format, version ${containerVersion} is read`,
    { data: { path }, hint: 'it was written by another version of this program; update it' },
  );
}

function checkProduct(
  file: SafetensorsFile,
  product: ProductDescription,
  malformed: (problem: string) => DoubleSparseError,
): StoredProduct {
  const { name, factors, members } = product;
  const [first, second] = factors as [FactorDescription, FactorDescription | undefined];
  if (first.name !== 'A' || (second && second.name !== 'B')) throw malformed(`${name}: factors are A, or A and B`);
  if (second && second.shape[0] !== first.shape[1])
    throw malformed(`${name}: A has shape [${first.shape}], B [${second.shape}]`);
  const types = new Set<string>();
  const supports: StoredSupport[] = [];
  let bytes = 0;
  const counts = factors.map(({ name: factor, shape: [rows, columns] }) => {
    const names = factorTensors(name, factor);
    const values = file.header.tensors.get(names.values);
    if (!values) throw malformed(`${names.values} is missing`);
    const support = checkSupport(file, names, rows, columns, malformed);
    supports.push(support);
    const count = values.shape[0] ?? 0;
    if (!isFloatType(values.dtype) || values.dtype === 'F64' || values.shape.length !== 1 || count > rows * columns)
      throw malformed(`${names.values} is ${values.dtype} [${values.shape}], for a matrix of ${rows}x${columns}`);
    types.add(values.dtype);
    bytes += values.end - values.begin + support.bytes;
    return count;
  });
  if (types.size !== 1) throw malformed(`${name}: the factors are of types ${[...types]}`);
  const total = (of: (member: MemberDescription) => number) => members.reduce((sum, member) => sum + of(member), 0);
  if (total(({ rows }) => rows) !== first.shape[0])
    throw malformed(`${name}: A has ${first.shape[0]} rows, its members ${total(({ rows }) => rows)}`);
  if (total(({ values }) => values) !== counts[0])
    throw malformed(`${name}: A has ${counts[0]} values, its members ${total(({ values }) => values)}`);
  const dense = 4 * first.shape[0] * (second ?? first).shape[1];
  if (dense > Math.max(smallWeightBytes, maximumExpansion * bytes))
    throw malformed(`${name}: ${bytes} bytes claim to be a matrix of ${dense} bytes`);
  return { ...product, file, dtype: [...types][0] as WritableFloatType, counts, supports };
}

function checkSupport(
  file: SafetensorsFile,
  names: Record<'bitmask' | 'gaps', string>,
  rows: number,
  columns: number,
  malformed: (problem: string) => DoubleSparseError,
): StoredSupport {
  const [bitmask, gaps] = [file.header.tensors.get(names.bitmask), file.header.tensors.get(names.gaps)];
  if (bitmask && gaps) throw malformed(`${names.bitmask} and ${names.gaps} are both there`);
  if (gaps) {
    const bytes = gaps.end - gaps.begin;
    if (gaps.dtype !== 'U8' || gaps.shape.length !== 1 || rows * columns > positionsWithin(bytes))
      throw malformed(`${names.gaps} is ${gaps.dtype} [${gaps.shape}], for a matrix of ${rows}x${columns}`);
    return { form: 'gaps', bytes };
  }
  if (!bitmask) throw malformed(`${names.bitmask} is missing`);
  const stride = maskStride(columns);
  if (bitmask.dtype !== 'U8' || bitmask.shape.length !== 2 || bitmask.shape[0] !== rows || bitmask.shape[1] !== stride)
    throw malformed(`${names.bitmask} is ${bitmask.dtype} [${bitmask.shape}], not U8 [${rows},${stride}]`);
  return { form: 'bitmask', bytes: bitmask.end - bitmask.begin };
}
