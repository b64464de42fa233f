import type { TokenWindows } from '../calibration/windows.js';
import { DoubleSparseError } from '../errors.js';
import { plainLlamaKernels } from '../models/llama/kernels.js';
import type { TokenModel } from '../runtime/token-model.js';
import { type PerplexityStatistics, perplexityStatistics } from './statistics.js';

/** Logits in memory at a time (64 MiB). */
const logitsAtOnce = 1 << 24;

export interface RuntimePerplexityOptions {
  /** Called after each window. */
  onProgress?: (windows: number) => void;
}

export interface RuntimePerplexityResult extends PerplexityStatistics {
  readonly windows: number;
  readonly seqLen: number;
  readonly seconds: number;
}

/**
 * Perplexity of a model as the runtime computes it: what generation would do with these tokens. The oracle is
 * {@link perplexity}, which expands weights to fp32 block by block.
 * @param model its cache is forgotten, and has room for a window.
 * @throws DoubleSparseError `option-out-of-range` for windows longer than the cache, `non-finite-value`, and of the model
 */
export async function runtimePerplexity(
  model: TokenModel,
  { windows, seqLen }: TokenWindows,
  { onProgress }: RuntimePerplexityOptions = {},
): Promise<RuntimePerplexityResult> {
  const start = performance.now();
  const losses: Float64Array[] = [];
  for (const ids of windows) {
    losses.push(await windowLosses(model, ids));
    onProgress?.(losses.length);
  }
  const seconds = (performance.now() - start) / 1000;
  return { ...perplexityStatistics(losses), windows: windows.length, seqLen, seconds };
}

/** Entry p is the loss (natural logarithm) of ids[p + 1] after ids[0 .. p]. */
async function windowLosses(model: TokenModel, ids: Uint32Array): Promise<Float64Array> {
  const losses = new Float64Array(Math.max(0, ids.length - 1));
  const step = Math.max(1, Math.floor(logitsAtOnce / model.vocabularySize));
  model.truncate(0);
  for (let from = 0; from < losses.length; from += step) {
    const count = Math.min(step, losses.length - from);
    const { data, columns } = await model.extendAll(ids.subarray(from, from + count));
    const maxima = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
    const sums = new Float64Array(count);
    plainLlamaKernels.accumulateExponentials(data, columns, maxima, sums);
    for (let row = 0; row < count; row++) {
      const logit = data[row * columns + (ids[from + row + 1] as number)] as number;
      const loss = (maxima[row] as number) + Math.log(sums[row] as number) - logit;
      if (!Number.isFinite(loss)) throw nonFinite(from + row);
      losses[from + row] = loss;
    }
  }
  return losses;
}

function nonFinite(position: number): DoubleSparseError {
  return new DoubleSparseError('non-finite-value', `the logits at position ${position} are not finite`, {
    data: { position },
    hint: 'the model computes values beyond its types; compare with the ordinary runtime (eval without --runtime)',
  });
}
