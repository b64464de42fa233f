import { existsSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { TokenWindows } from '../calibration/windows.js';
import { BlockWalk } from '../compression/block-walk.js';
import { CompressionRun } from '../compression/compression-run.js';
import { poolSize } from '../compression/matrix-pool.js';
import { engineOfRun, evaluationFingerprint, modelHash } from '../compression/run-fingerprint.js';
import { RunResources } from '../compression/run-resources.js';
import { type PerplexityOptions, type PerplexityResult, perplexity } from '../evaluation/perplexity.js';
import type { MethodName } from '../factorization/registry.js';
import { writeError } from '../formats/atomic-file.js';
import { makeFolder } from '../formats/make-folder.js';
import type { EngineName } from '../linalg/engine.js';
import { chooseEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import {
  type CompareOptions,
  type CompareTexts,
  type Comparison,
  type ComparisonEvent,
  type ComparisonPlace,
  type ComparisonRow,
  comparisonRowSchema,
  type DenseRow,
  denseRowSchema,
  type TunedEvaluation,
  tunedEvaluationSchema,
} from './comparison.js';
import { engineOfResult, KeptResult } from './kept-result.js';
import { languageTrainer } from './language-trainer.js';
import { type Tuned, TunedModels, type Tuning, tunedRow } from './tuned-models.js';

type TunedLanguageModels = TunedModels<LlamaModel, TunedEvaluation>;

/** A row and the run that makes it. */
interface Row {
  readonly method: MethodName;
  readonly sparsity: number;
  readonly run: CompressionRun;
  readonly kept: KeptResult<ComparisonRow>;
  /** Where fine-tuning was asked for. */
  readonly tuned?: KeptResult<Tuning<TunedEvaluation>> | undefined;
}

/**
 * Compresses a model by every method at every sparsity and evaluates all of them, and the dense model, on one text.
 * Every number and model is that of a run by itself; what does not depend on the method is computed once. Rows that
 * the folder holds from an interrupted comparison are not computed again, and a run in it goes on; with `force` a
 * comparison that is complete is computed anew.
 * @throws DoubleSparseError of {@link compressModel} and {@link perplexity}; `run-mismatch` when the folder holds rows
 * of other settings and `force` is not set
 */
export async function compareModels(
  model: LlamaModel,
  texts: CompareTexts,
  place: ComparisonPlace,
  options: CompareOptions,
  report: (event: ComparisonEvent) => void = () => {},
): Promise<Comparison> {
  const { calibration, evaluation, against } = texts;
  const { methods, sparsities, windows: _windows, ...common } = options;
  const outOf = (method: MethodName, sparsity: number): string => join(place.folder, `${method}-${sparsity}`);
  const targets = [...new Set(sparsities)].flatMap((sparsity) =>
    [...new Set(methods)].map((method) => ({ method, sparsity, out: outOf(method, sparsity) })),
  );
  const choice = chooseEngine(options.engine === 'auto' ? (earlierEngine(targets) ?? 'auto') : options.engine);
  const threads = options.threads ?? availableParallelism();
  const resources = new RunResources(model, calibration, { choice, threads, several: targets.length > 1 });
  let open: readonly Row[] = [];
  try {
    const tuning =
      options.finetune > 0 && texts.finetuning
        ? new TunedModels(
            languageTrainer(model, texts.finetuning, options, choice),
            tunedEvaluationSchema,
            { ...place, force: options.force },
            report,
          )
        : undefined;
    // What cannot be planned, or is there with other settings, is refused before anything runs.
    const rows = targets.map(({ method, sparsity, out }): Row => {
      const own = { ...common, method, sparsity };
      const run = new CompressionRun(resources, out, own, (event) => report({ kind: 'run', method, sparsity, event }));
      const fingerprint = { ...run.fingerprint, evaluation: evaluation.hash };
      const kept = new KeptResult(`${out}.json`, fingerprint, comparisonRowSchema, own.force);
      return { method, sparsity, run, kept, tuned: tuning?.kept(`${method}-${sparsity}`, fingerprint) };
    });
    const keptDense = (name: string, hash: string, text: TokenWindows): KeptResult<DenseRow> => {
      const fingerprint = evaluationFingerprint(hash, text, choice);
      return new KeptResult(join(place.folder, `${name}.json`), fingerprint, denseRowSchema, options.force);
    };
    const dense = keptDense('dense', resources.modelHash, evaluation);
    const denseFingerprint = evaluationFingerprint(resources.modelHash, evaluation, choice);
    const tunedDense = tuning?.kept('dense', denseFingerprint);
    const smaller = against && keptDense('smaller', modelHash(against.model), against.evaluation);

    const isOpen = ({ run, kept }: Row): boolean =>
      kept.value === undefined || (place.keepModels && !existsSync(join(run.out, 'config.json')));
    const anew = options.force && !rows.some(isOpen);
    open = anew ? rows : rows.filter(isOpen);
    openRuns(place.folder, rows, open);
    if (anew) for (const kept of [dense, tunedDense, smaller]) kept?.discard();
    if (open.length < rows.length) report({ kind: 'kept', rows: rows.length - open.length, total: rows.length });

    const own: PerplexityOptions = { engine: choice, threads };
    const settings = fitsPool(evaluation, resources) ? { pool: resources.forwardPool } : own;
    const denseRow = dense.value ?? dense.keep(rowOfDense(model, await perplexity(model, evaluation, settings)));
    report({ kind: 'dense', row: denseRow });
    if (open.length > 0) await resources.denseOutput();
    if (options.sequential === 'dense') await walkTogether(resources, open);
    const evaluateIn = (out: string): Promise<PerplexityResult> => evaluate(out, evaluation, settings, choice);
    const evaluateTuned = async (out: string): Promise<TunedEvaluation> => {
      const { perplexity: value, standardError } = await evaluateIn(out);
      return { perplexity: value, standardError };
    };
    if (tuning && tunedDense) await tuning.tune('dense', tunedDense, model, evaluateTuned);
    for (const row of rows) {
      if (open.includes(row)) report({ kind: 'row', row: await finishRow(resources, row, denseRow, evaluateIn) });
      if (tuning) await tuneRow(tuning, row, evaluateTuned, choice);
      if (!place.keepModels) rmSync(row.run.out, { recursive: true });
    }
    const result = {
      dense: withTuned(denseRow, tunedDense),
      rows: rows.map(({ kept, tuned }) => withTuned(kept.value as ComparisonRow, tuned)),
    };
    if (!against || !smaller) return result;
    const evaluated = async (): Promise<DenseRow> =>
      smaller.keep(rowOfDense(against.model, await perplexity(against.model, against.evaluation, own)));
    return { ...result, against: smaller.value ?? (await evaluated()) };
  } finally {
    for (const { run } of open) run.close();
    await resources.close();
  }
}

/** A comparison goes on with the engine it began with, as a run does. */
function earlierEngine(targets: readonly { readonly out: string }[]): EngineName | undefined {
  const engines = targets.map(({ out }) => engineOfResult(`${out}.json`) ?? engineOfRun(`${out}.run`));
  return engines.find((name) => name !== undefined);
}

/** Opens the runs of rows that are to be computed; what forbids one of them is found before any work. */
function openRuns(folder: string, rows: readonly Row[], open: readonly Row[]): void {
  makeFolder(folder);
  try {
    // One that was killed as it removed what it no longer needed.
    for (const row of rows) if (!open.includes(row)) rmSync(`${row.run.out}.run`, { recursive: true, force: true });
  } catch (cause) {
    throw writeError(folder, cause);
  }
  for (const { run } of open) run.open();
  for (const { kept, tuned } of open) {
    kept.discard();
    tuned?.discard();
  }
}

async function tuneRow(
  tuning: TunedLanguageModels,
  { method, sparsity, run, tuned }: Row,
  evaluateIn: (out: string) => Promise<TunedEvaluation>,
  engine: EngineChoice,
): Promise<void> {
  const name = `${method}-${sparsity}`;
  if (!tuned || tuning.isDone(name, tuned)) return;
  const model = openModel(run.out, engine);
  try {
    await tuning.tune(name, tuned, model, evaluateIn);
  } finally {
    model.checkpoint.close();
  }
}

function withTuned<R extends object>(
  row: R,
  kept: KeptResult<Tuning<TunedEvaluation>> | undefined,
): R & { tuned?: Tuned<TunedEvaluation> } {
  const tuned = tunedRow(kept?.value);
  return tuned ? { ...row, tuned } : row;
}

/** Products of all rows in one walk. */
async function walkTogether(resources: RunResources, rows: readonly Row[]): Promise<void> {
  const [first, ...others] = rows.map(({ run }) => run);
  if (first === undefined) return;
  try {
    resources.sharedSeconds += await new BlockWalk(resources, [first, ...others]).compress();
  } catch (error) {
    for (const { run } of rows) run.logFailure(error);
    throw error;
  }
}

/** Takes a row to its end: products that are missing, the model, its evaluation. */
async function finishRow(
  resources: RunResources,
  { method, sparsity, run, kept }: Row,
  dense: DenseRow,
  evaluateModel: (out: string) => Promise<PerplexityResult>,
): Promise<ComparisonRow> {
  const [start, sharedBefore] = [performance.now(), resources.sharedSeconds];
  const together = run.options.sequential === 'dense';
  try {
    if (!together) await new BlockWalk(resources, [run]).compress();
    const { linearBytes, nonzeros } = await run.write();
    const { factorizationSeconds, resumedProducts, plan } = run;
    const seconds = sharedBefore + (performance.now() - start) / 1000 + (together ? factorizationSeconds : 0);
    const { perplexity: value, standardError } = await evaluateModel(run.out);
    const keptEntries = dense.linearWeights - plan.targetedEntries;
    const row = kept.keep({
      method,
      sparsity,
      perplexity: value,
      standardError,
      linearBytes: linearBytes + 2 * keptEntries,
      nonzeros: nonzeros + keptEntries,
      seconds,
      factorizationSeconds,
      resumed: resumedProducts > 0,
    });
    run.remove();
    return row;
  } catch (error) {
    run.logFailure(error);
    throw error;
  }
}

/** Is this the pool that an evaluation would make for itself? */
function fitsPool(evaluation: TokenWindows, { forwardSize, threads, windows }: RunResources): boolean {
  const { workers } = poolSize({ threads, jobs: evaluation.windows.length });
  return workers === forwardSize.workers && evaluation.seqLen <= windows.seqLen;
}

async function evaluate(
  path: string,
  text: TokenWindows,
  options: PerplexityOptions,
  engine: EngineChoice,
): Promise<PerplexityResult> {
  const model = openModel(path, engine);
  try {
    return await perplexity(model, text, options);
  } finally {
    model.checkpoint.close();
  }
}

function rowOfDense({ checkpoint }: LlamaModel, { perplexity: value, standardError }: PerplexityResult): DenseRow {
  const linearWeights = [...checkpoint.tensors.values()]
    .filter(({ name }) => /_proj\.weight$/.test(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { perplexity: value, standardError, linearBytes: 2 * linearWeights, linearWeights };
}
