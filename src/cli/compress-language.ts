import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { loadCalibration, loadEvaluation } from '../calibration/load-windows.js';
import type { TokenWindows } from '../calibration/windows.js';
import { type CompressionResult, compressModel } from '../compression/compress-model.js';
import { type CompressOptions, compressOptionsSchema } from '../compression/compress-options.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import { dryRun } from '../compression/dry-run.js';
import { embedded } from '../compression/embedded.js';
import { DoubleSparseError } from '../errors.js';
import { perplexity } from '../evaluation/perplexity.js';
import { chooseEngine } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { compressionSummary, dryRunTable, matchedLine, productLine } from '../report/compression-report.js';
import { parseOptions } from './flags.js';
import { endOnInterrupt } from './interrupt.js';
import { cappedSeqLen, noticeEngine, noticeShared, noticeWindows } from './notices.js';
import { commandLine, printResult, say, showStatus } from './terminal.js';

export interface CompressFlags {
  calibration?: string;
  out: string;
  evaluate?: string;
  windows?: number;
  dryRun?: boolean;
  json?: boolean;
}

/** `dsf compress` of a language model. */
export async function compressLanguageModel(path: string, flags: CompressFlags): Promise<void> {
  const { out: folder, evaluate, windows: evaluationWindows, dryRun: dry = false, json = false, ...rest } = flags;
  const out = resolve(folder);
  const options = parseOptions(compressOptionsSchema, rest);
  const model = openModel(path);
  const { checkpoint } = model;
  const seqLen = cappedSeqLen(options.seqLen, model.config.contextLength);
  const settings = { ...options, seqLen };
  if (evaluationWindows !== undefined && evaluate === undefined)
    throw new DoubleSparseError('option-out-of-range', '--windows are those of --evaluate, which is not given', {
      data: { option: 'windows' },
      hint: 'add --evaluate TEXT; --samples is the number of calibration windows',
    });
  const text = options.calibration ?? embedded.calibrationText;
  if (options.calibration === undefined)
    say(`no --calibration given: calibrating on the embedded ${basename(text)}; text like your own is better`);
  const { samples, seed, bos, textField } = options;
  const windows = await loadCalibration(checkpoint, text, { samples, seed, seqLen, bos, textField });
  say(
    `calibration: ${samples} windows of ${seqLen} tokens out of ${windows.tokens}, ${bos ? 'with' : 'without'} BOS, hash ${windows.hash.slice(0, 12)}`,
  );
  noticeWindows(windows, 'calibration');
  const evaluation =
    evaluate === undefined
      ? undefined
      : await loadEvaluation(checkpoint, evaluate, { seqLen, bos, textField, windows: evaluationWindows });
  if (evaluation) {
    noticeWindows(evaluation, 'evaluation');
    noticeShared(windows, evaluation);
  }
  noticeEngine(options.engine);
  if (dry) {
    const plan = dryRun(model, out, settings);
    return printResult(json ? JSON.stringify(plan) : dryRunTable(plan));
  }
  endOnInterrupt(() => say(`interrupted; every finished matrix is kept in ${out}.run. To go on:\n  ${commandLine()}`));
  const result = await compressModel(model, windows, out, settings, progressTo);
  const summaryText = compressionSummary(result, out, modelBytes(out));
  if (json) say(summaryText);
  else printResult(summaryText);
  const evaluated = evaluation && (await evaluateBoth(model, out, evaluation, options));
  const report = { ...summary(result, out), seconds: result.seconds, ...(evaluated && { evaluation: evaluated }) };
  if (json) printResult(JSON.stringify(report));
  checkpoint.close();
}

/** Perplexities of the source and of what was made of it, on one text. */
async function evaluateBoth(
  model: LlamaModel,
  out: string,
  text: TokenWindows,
  { engine, threads }: CompressOptions,
): Promise<{ dense: number; compressed: number; standardError: number; windows: number }> {
  const own = { engine: chooseEngine(engine), ...(threads !== undefined && { threads }) };
  const dense = await perplexity(model, text, own);
  const written = openModel(out, own.engine);
  const compressed = await perplexity(written, text, own);
  written.checkpoint.close();
  const { perplexity: value, standardError, windows } = compressed;
  say(
    `perplexity on ${windows} x ${text.seqLen} tokens: dense ${dense.perplexity.toFixed(3)}, compressed ${value.toFixed(3)} ± ${standardError.toFixed(3)}`,
  );
  return { dense: dense.perplexity, compressed: value, standardError, windows };
}

function progressTo(event: CompressionEvent): void {
  if (event.kind === 'status') showStatus(event.text);
  else if (event.kind === 'resumed')
    say(`going on with an interrupted run: ${event.finished} of ${event.total} matrices are finished`);
  else say(event.kind === 'matched' ? matchedLine(event) : productLine(event));
}

/** Bytes of all weight files of a folder. */
function modelBytes(folder: string): number {
  const names = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  return names.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

function summary(result: CompressionResult, out: string): Record<string, unknown> {
  const { plan, metrics, linearBytes, denseLinearBytes, nonzeros, budget, factorizationSeconds, peakMemoryBytes } =
    result;
  return {
    out,
    method: plan.method,
    linearBytes,
    denseLinearBytes,
    denseOutput: result.denseOutput,
    compressedOutput: result.compressedOutput,
    nonzeros,
    budget,
    targetedEntries: plan.targetedEntries,
    allEntries: plan.allEntries,
    factorizationSeconds,
    peakMemoryBytes,
    resumedProducts: result.resumedProducts,
    engine: result.engine,
    layers: [...metrics].map(([name, each]) => ({ name, ...each })),
    kept: plan.kept,
  };
}
