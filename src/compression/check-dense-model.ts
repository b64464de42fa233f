import type { TokenWindows } from '../calibration/windows.js';
import { DoubleSparseError } from '../errors.js';
import { perplexity } from '../evaluation/perplexity.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';

/**
 * Evaluates the dense model on a few calibration windows. One whose loss is that of guessing is broken already: no run
 * should end with that discovery.
 * @returns its perplexity.
 * @throws DoubleSparseError `verification-failed`
 */
export async function checkDenseModel(
  model: LlamaModel,
  windows: TokenWindows,
  engine: EngineChoice,
  threads: number,
): Promise<number> {
  const { perplexity: dense } = await perplexity(model, firstWindows(windows, threads), { engine, threads });
  const { vocabularySize } = model.config;
  if (dense < vocabularySize) return dense;
  throw new DoubleSparseError(
    'verification-failed',
    `the dense model has perplexity ${dense.toPrecision(4)} on the calibration text: no better than guessing among its ${vocabularySize} tokens`,
    {
      data: { perplexity: dense, vocabularySize },
      hint: 'the checkpoint is damaged, or its tokenizer belongs to another model; try dsf eval, and download it again',
    },
  );
}

/** As many windows as are computed at one time. */
export function firstWindows(windows: TokenWindows, threads: number): TokenWindows {
  return { ...windows, windows: windows.windows.slice(0, threads) };
}
