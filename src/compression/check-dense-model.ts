import type { TokenWindows } from '../calibration/windows.js';
import { DoubleSparseError } from '../errors.js';
import { perplexity } from '../evaluation/perplexity.js';
import type { ForwardPool } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';

/**
 * Evaluates the dense model on a few calibration windows. One whose loss is that of guessing is broken already: no run
 * should end with that discovery.
 * @returns its perplexity.
 * @throws DoubleSparseError `verification-failed`
 */
export async function checkDenseModel(model: LlamaModel, windows: TokenWindows, pool: ForwardPool): Promise<number> {
  const dense = await firstPerplexity(model, windows, pool);
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

/** Perplexity on as many windows as are computed at one time. */
export async function firstPerplexity(model: LlamaModel, windows: TokenWindows, pool: ForwardPool): Promise<number> {
  const few = { ...windows, windows: windows.windows.slice(0, pool.workers) };
  return (await perplexity(model, few, { pool })).perplexity;
}
