/** How positions are scaled, as in `rope_scaling` of config.json. */
export type RopeScaling = Readonly<{ rope_type: string } & Record<string, string | number>>;

interface Llama3 {
  readonly factor: number;
  readonly low: number;
  readonly high: number;
  readonly context: number;
}

/**
 * Llama 3's scaling from the table that its converter writes in its place (`rope_freqs.weight`, one divisor for each
 * pair of a head): f = 1 for short wavelengths w, `factor` for long ones, and between them
 * 1/f = (1 - s)/factor + s with s = (context/w - low)/(high - low), which is linear in 1/w. Only context/low and
 * context/high can be seen; low = 1 as in every published model.
 * @returns undefined when the table is not of this kind.
 */
export function llama3ScalingFromTable(table: Float32Array, theta: number): RopeScaling | undefined {
  const factor = table.reduce((largest, value) => Math.max(largest, value), 0);
  if (!(factor > 1) || !Number.isFinite(factor)) return undefined;
  const inverse = Array.from(table, (_, i) => theta ** (-i / table.length) / (2 * Math.PI));
  const published: Llama3 = { factor, low: 1, high: 4, context: 8192 };
  for (const candidate of [published, fitted(table, inverse, factor)]) {
    if (candidate && reproduces(table, inverse, candidate)) {
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: candidate.low,
        high_freq_factor: candidate.high,
        original_max_position_embeddings: candidate.context,
      };
    }
  }
  return undefined;
}

/** The line through the divisors between the two plateaus, by least squares. */
function fitted(table: Float32Array, inverse: readonly number[], factor: number): Llama3 | undefined {
  const between = [...table.keys()].filter(
    (i) => (table[i] as number) > 1.0001 && (table[i] as number) < factor * 0.9999,
  );
  if (between.length < 2) return undefined;
  let [sx, sy, sxx, sxy] = [0, 0, 0, 0];
  for (const i of between) {
    const x = inverse[i] as number;
    const y = (1 / (table[i] as number) - 1 / factor) / (1 - 1 / factor);
    sx += x;
    sy += y;
    sxx += x * x;
    sxy += x * y;
  }
  const slope = (between.length * sxy - sx * sy) / (between.length * sxx - sx * sx);
  const intercept = (sy - slope * sx) / between.length;
  // s = (context/w - 1)/(high - 1): intercept = -1/(high - 1), slope = context/(high - 1).
  const high = 1 - 1 / intercept;
  const rounded = Math.abs(high - Math.round(high)) < 1e-2 ? Math.round(high) : high;
  return { factor, low: 1, high: rounded, context: Math.round(-slope / intercept) };
}

function reproduces(table: Float32Array, inverse: readonly number[], { factor, low, high, context }: Llama3): boolean {
  if (!(high > low) || !(context > 0)) return false;
  return table.every((value, i) => {
    const smooth = Math.min(1, Math.max(0, (context * (inverse[i] as number) - low) / (high - low)));
    const expected = 1 / ((1 - smooth) / factor + smooth);
    return Math.abs(value - expected) <= 1e-3 * expected;
  });
}
