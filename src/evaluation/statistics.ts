export interface PerplexityStatistics {
  /** exp of the mean loss. */
  readonly perplexity: number;
  /**
   * Standard error of the perplexity by the delta method: perplexity * (standard error of the mean loss). The windows
   * are the independent observations, since losses within a text go together: standard deviation of the windows' mean
   * losses / sqrt(windows). A single window falls back to its tokens.
   */
  readonly standardError: number;
  readonly standardErrorFrom: 'windows' | 'tokens';
  /** Tokens scored. */
  readonly tokens: number;
  /** Mean negative log likelihood of a token, natural logarithm. */
  readonly meanLoss: number;
  /** Mean loss of each window, for paired comparisons of two models. */
  readonly windowLosses: readonly number[];
}

/** @param losses of the scored tokens of each window; windows of equal length. */
export function perplexityStatistics(losses: readonly Float64Array[]): PerplexityStatistics {
  const tokens = losses.reduce((sum, window) => sum + window.length, 0);
  const meanLoss = losses.reduce((sum, window) => sum + total(window), 0) / tokens;
  const standardErrorFrom = losses.length > 1 ? 'windows' : 'tokens';
  const windowLosses = losses.map((window) => total(window) / window.length);
  const observations = losses.length > 1 ? windowLosses : [...(losses[0] ?? [])];
  const perplexity = Math.exp(meanLoss);
  return {
    perplexity,
    standardError: perplexity * standardErrorOfMean(observations),
    standardErrorFrom,
    tokens,
    meanLoss,
    windowLosses,
  };
}

function total(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum;
}

/** 0 for a single value, of which nothing is known. */
function standardErrorOfMean(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const mean = total(values) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}
