import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { type PerplexityOptions, type PerplexityResult, perplexity } from '../evaluation/perplexity.js';
import { type MethodName, methodNames } from '../factorization/registry.js';
import { chooseEngine } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { compressModel } from './compress-model.js';
import { type CompressOptions, compressOptionsSchema } from './compress-options.js';
import type { CompressionEvent } from './compression-event.js';
import { planCompression } from './compression-plan.js';

const { method: _method, sparsity: _sparsity, ...shared } = compressOptionsSchema.shape;

/** Options of a comparison: those of a compression run, but several methods and sparsities. */
export const compareOptionsSchema = z.object({
  methods: z
    .array(z.enum(methodNames))
    .min(1)
    .default(['double-sparse', 'admm', 'sparsegpt', 'wanda', 'magnitude'])
    .describe(`methods, separated by commas: ${methodNames.join(', ')}`),
  sparsities: z.array(z.number().min(0).lt(1)).min(1).default([0.5]).describe('sparsities, separated by commas'),
  ...shared,
  windows: z.int().min(1).optional().describe('evaluation windows from the start of the text (default: all)'),
});
export type CompareOptions = z.output<typeof compareOptionsSchema>;

/** A compressed model of the comparison. */
export interface ComparisonRow {
  readonly method: MethodName;
  readonly sparsity: number;
  readonly perplexity: number;
  readonly standardError: number;
  /** Of all linear layers, those kept dense included; likewise the nonzeros. */
  readonly linearBytes: number;
  readonly nonzeros: number;
  readonly seconds: number;
  readonly factorizationSeconds: number;
}

/** A dense model of the comparison. */
export interface DenseRow {
  readonly perplexity: number;
  readonly standardError: number;
  /** Weights of linear layers, at two bytes each. */
  readonly linearBytes: number;
  readonly linearWeights: number;
}

export interface Comparison {
  readonly dense: DenseRow;
  /** The smaller model, where one was given. */
  readonly against?: DenseRow;
  readonly rows: readonly ComparisonRow[];
}

export interface CompareTexts {
  readonly calibration: LoadedWindows;
  readonly evaluation: LoadedWindows;
  /** A smaller dense model and the evaluation text in its tokens. */
  readonly against?: { readonly model: LlamaModel; readonly evaluation: LoadedWindows };
}

export type ComparisonEvent =
  | { kind: 'dense'; row: DenseRow }
  | { kind: 'row'; row: ComparisonRow }
  | { kind: 'run'; method: MethodName; sparsity: number; event: CompressionEvent };

/**
 * Compresses a model by every method at every sparsity and evaluates all of them, and the dense model, on one text.
 * @param folder where the compressed models are put, as METHOD-SPARSITY.
 * @param keep which of them stay there.
 * @throws DoubleSparseError of {@link compressModel} and {@link perplexity}
 */
export async function compareModels(
  model: LlamaModel,
  { calibration, evaluation, against }: CompareTexts,
  folder: string,
  options: CompareOptions,
  keep: (method: MethodName, sparsity: number) => boolean,
  report: (event: ComparisonEvent) => void = () => {},
): Promise<Comparison> {
  const { methods, sparsities, windows: _windows, ...common } = options;
  const engine = chooseEngine(options.engine);
  const settings: PerplexityOptions = { engine, ...(options.threads !== undefined && { threads: options.threads }) };
  // What cannot be planned fails before the first run.
  for (const method of methods) planCompression(model, { ...common, method, sparsity: 0 });
  const dense = denseRow(model, await perplexity(model, evaluation, settings));
  report({ kind: 'dense', row: dense });
  const rows: ComparisonRow[] = [];
  for (const sparsity of sparsities) {
    for (const method of methods) {
      const out = join(folder, `${method}-${sparsity}`);
      const own: CompressOptions = { ...common, method, sparsity };
      const run = await compressModel(model, calibration, out, own, (event) =>
        report({ kind: 'run', method, sparsity, event }),
      );
      const result = await evaluate(out, evaluation, settings);
      const { seconds, factorizationSeconds } = run;
      const keptDense = dense.linearWeights - run.plan.targetedEntries;
      const linearBytes = run.linearBytes + 2 * keptDense;
      const nonzeros = run.nonzeros + keptDense;
      const { perplexity: value, standardError } = result;
      const row = {
        method,
        sparsity,
        perplexity: value,
        standardError,
        linearBytes,
        nonzeros,
        seconds,
        factorizationSeconds,
      };
      report({ kind: 'row', row });
      rows.push(row);
      if (!keep(method, sparsity)) rmSync(out, { recursive: true });
    }
  }
  if (!against) return { dense, rows };
  const smaller = denseRow(against.model, await perplexity(against.model, against.evaluation, settings));
  return { dense, against: smaller, rows };
}

async function evaluate(path: string, text: LoadedWindows, options: PerplexityOptions): Promise<PerplexityResult> {
  const model = openModel(path);
  try {
    return await perplexity(model, text, options);
  } finally {
    model.checkpoint.close();
  }
}

function denseRow({ checkpoint }: LlamaModel, { perplexity: value, standardError }: PerplexityResult): DenseRow {
  const linearWeights = [...checkpoint.tensors.values()]
    .filter(({ name }) => /_proj\.weight$/.test(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { perplexity: value, standardError, linearWeights, linearBytes: 2 * linearWeights };
}
