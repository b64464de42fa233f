import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix.js';
import { sharedZeros } from '../../linalg/shared-matrix.js';

/** How positions become angles. `linear` and `llama3` stretch the context of the base frequencies. */
export type Rope =
  | { readonly type: 'default'; readonly theta: number }
  | { readonly type: 'linear'; readonly theta: number; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly theta: number;
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    };

const supportedTypes = ['default', 'linear', 'llama3'] as const;

/** transformers' `default_theta`, for a configuration that names none. */
const defaultTheta = 10_000;

const positive = z.number().positive();
const parametersSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.optional(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: z.int().positive().optional(),
  partial_rotary_factor: z.number().optional(),
});
const understood: ReadonlySet<string> = new Set(Object.keys(parametersSchema.shape));

/** The fields of config.json that say how positions are rotated. */
export interface RopeFields {
  readonly rope_theta?: unknown;
  readonly rope_scaling?: unknown;
  readonly rope_parameters?: unknown;
  readonly partial_rotary_factor?: unknown;
  readonly original_max_position_embeddings?: number | null | undefined;
}

/**
 * Reads the rotary embedding of either generation of config.json: `rope_theta` with `rope_scaling` (which wins where
 * both are there, as in transformers), or all in `rope_parameters` (transformers 5).
 * @param contextLength max_position_embeddings, the default of `original_max_position_embeddings`.
 * @throws DoubleSparseError `file-malformed` (values that are no numbers, or missing), `file-unsupported` (a type or
 * option that we do not compute)
 */
export function parseRope(fields: RopeFields, contextLength: number): Rope {
  const source = fields.rope_scaling ? 'rope_scaling' : 'rope_parameters';
  const result = parametersSchema.safeParse(fields[source] ?? {});
  if (!result.success) throw malformed(`${source}: ${z.prettifyError(result.error)}`);
  const parameters = result.data;
  const type = parameters.rope_type ?? parameters.type ?? 'default';
  if (!(supportedTypes as readonly string[]).includes(type)) {
    throw unsupported(`${source}: rope type "${type}"`, { option: source, value: type, supported: supportedTypes });
  }
  const partial = parameters.partial_rotary_factor ?? fields.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw unsupported(`partial_rotary_factor ${partial}`, { option: 'partial_rotary_factor', value: Number(partial) });
  }
  const unknown = Object.entries(parameters).filter(([key, value]) => !understood.has(key) && value !== null);
  if (type !== 'default' && unknown.length > 0) {
    const names = unknown.map(([key]) => key);
    throw unsupported(`${source}: ${names.join(', ')}`, { option: source, names });
  }
  const theta = positive.safeParse(parameters.rope_theta ?? fields.rope_theta ?? defaultTheta);
  if (!theta.success) throw malformed(`rope_theta is ${JSON.stringify(fields.rope_theta)}, not a positive number`);
  const needed = (name: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = parameters[name];
    if (value === undefined) throw malformed(`${source} of type ${type} has no ${name}`);
    return value;
  };
  if (type === 'linear') return { type, theta: theta.data, factor: needed('factor') };
  if (type !== 'llama3') return { type: 'default', theta: theta.data };
  return {
    type,
    theta: theta.data,
    factor: needed('factor'),
    lowFrequencyFactor: needed('low_freq_factor'),
    highFrequencyFactor: needed('high_freq_factor'),
    originalContextLength:
      fields.original_max_position_embeddings ?? parameters.original_max_position_embeddings ?? contextLength,
  };
}

function malformed(problem: string): DoubleSparseError {
  return new DoubleSparseError('file-malformed', `config.json: ${problem}`, { data: { option: 'rope' } });
}

function unsupported(what: string, data: Record<string, string | number | readonly string[]>): DoubleSparseError {
  return new DoubleSparseError('file-unsupported', `config.json: ${what} is not supported`, {
    data,
    hint: `rotary embeddings that we compute: ${supportedTypes.join(', ')}`,
  });
}

/**
 * Radians that each pair of channels turns by per position, headSize / 2 values. Rounded to fp32 where transformers
 * rounds (modeling_rope_utils.py): at position 8000 the rounding of the frequency is visible in the logits.
 */
export function inverseFrequencies(rope: Rope, headSize: number): Float32Array {
  const { fround } = Math;
  const base = Float32Array.from({ length: headSize / 2 }, (_, pair) =>
    fround(1 / fround(rope.theta ** fround((2 * pair) / headSize))),
  );
  if (rope.type === 'default') return base;
  const { factor } = rope;
  if (rope.type === 'linear') return base.map((frequency) => frequency / factor);
  const { lowFrequencyFactor, highFrequencyFactor, originalContextLength } = rope;
  return base.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < originalContextLength / highFrequencyFactor) return frequency;
    if (wavelength > originalContextLength / lowFrequencyFactor) return frequency / factor;
    const smooth =
      (originalContextLength / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** Cosines and sines of positions 0 .. length - 1, each length x headSize / 2, in shared memory. */
export interface RotaryTable {
  readonly cosines: Matrix;
  readonly sines: Matrix;
}

/** @param length positions, at least those of the longest sequence. */
export function rotaryTable(rope: Rope, headSize: number, length: number): RotaryTable {
  const frequencies = inverseFrequencies(rope, headSize);
  const pairs = headSize / 2;
  const table = { cosines: sharedZeros(length, pairs), sines: sharedZeros(length, pairs) };
  for (let position = 0; position < length; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = Math.fround(position * (frequencies[pair] as number));
      table.cosines.data[position * pairs + pair] = Math.cos(angle);
      table.sines.data[position * pairs + pair] = Math.sin(angle);
    }
  }
  return table;
}
