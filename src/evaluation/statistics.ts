export interface PerplexityStatistics {
  /** exp of the mean loss. */
  readonly perplexity: number;
  /**
   * Standard error of the perplexity by the delta method: perplexity * (standard error of the mean loss). The windows
   * are the independent observations, since losses within a text go together: standard deviation of the windows' mean
   * losses / sqrt(windows). Of fewer than eight windows the spread is little known: then it is at least that of the
   * tokens.
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

/** From so many windows on their spread alone gives the standard error. */
const enoughWindows = 8;

/** @param losses of the scored tokens of each window; windows of equal length. */
export function perplexityStatistics(losses: readonly Float64Array[]): PerplexityStatistics {
  const tokens = losses.reduce((sum, window) => sum + window.length, 0);
  const meanLoss = losses.reduce((sum, window) => sum + total(window), 0) / tokens;
  const windowLosses = losses.map((window) => total(window) / window.length);
  const ofWindows = standardErrorOfMean(windowLosses);
  const ofTokens = losses.length < enoughWindows ? standardErrorOfMean(losses.flatMap((window) => [...window])) : 0;
  const perplexity = Math.exp(meanLoss);
  return {
    perplexity,
    standardError: perplexity * Math.max(ofWindows, ofTokens),
    standardErrorFrom: ofWindows >= ofTokens ? 'windows' : 'tokens',
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
