import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCalibration, loadEvaluation } from '../calibration/load-windows.js';
import { compareModels } from '../comparison/compare-models.js';
import { type ComparisonEvent, compareOptionsSchema } from '../comparison/comparison.js';
import { embedded } from '../compression/embedded.js';
import type { FinetuneEvent } from '../finetuning/finetune-events.js';
import { openModel } from '../models/llama/open-model.js';
import { comparisonTable } from '../report/comparison-table.js';
import { productLine } from '../report/compression-report.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { stepLine } from './finetune-progress.js';
import { parseOptions } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeShared, noticeWindows } from './notices.js';
import { commandLine, printResult, say, showStatus } from './terminal.js';

export interface CompareFlags {
  text?: string;
  against?: string;
  keep?: string;
  calibration?: string;
  json?: boolean;
}

/** `dsf compare` of a language model. */
export async function compareLanguageModels(path: string, flags: CompareFlags): Promise<void> {
  const { text = embedded.evaluationText, against, keep, json = false, ...rest } = flags;
  const options = parseOptions(compareOptionsSchema, rest);
  const model = openModel(path);
  const smaller = against === undefined ? undefined : openModel(against);
  const context = Math.min(model.config.contextLength, smaller?.config.contextLength ?? Number.POSITIVE_INFINITY);
  const seqLen = cappedSeqLen(options.seqLen, context);
  const { samples, seed, bos, textField, windows } = options;
  const loading = { seqLen, bos, textField };
  const calibrationText = options.calibration ?? embedded.calibrationText;
  const calibration = await loadCalibration(model.checkpoint, calibrationText, { ...loading, samples, seed });
  const evaluation = await loadEvaluation(model.checkpoint, text, { ...loading, windows });
  const finetuning =
    options.finetune > 0 ? await loadEvaluation(model.checkpoint, calibrationText, loading) : undefined;
  noticeWindows(calibration, 'calibration');
  noticeWindows(evaluation, 'evaluation');
  noticeEngine(options.engine);
  noticeShared(finetuning ?? calibration, evaluation);
  say(
    `calibration ${samples} x ${seqLen} tokens, evaluation ${evaluation.windows.length} x ${seqLen} tokens, ${bos ? 'with' : 'without'} BOS`,
  );
  const folder = keep ?? mkdtempSync(join(tmpdir(), 'dsf-compare-'));
  const removeTemporary = (): void => {
    if (keep === undefined) rmSync(folder, { recursive: true, force: true });
  };
  process.once('SIGINT', () => {
    removeTemporary();
    if (keep !== undefined)
      say(`interrupted; finished rows and matrices are kept in ${keep}. To go on:\n  ${commandLine()}`);
    process.exit(130);
  });
  const other = smaller && {
    model: smaller,
    evaluation: await loadEvaluation(smaller.checkpoint, text, { ...loading, windows }),
  };
  try {
    const texts = { calibration, evaluation, ...(finetuning && { finetuning }), ...(other && { against: other }) };
    const place = { folder, keepModels: keep !== undefined };
    const result = await compareModels(model, texts, place, { ...options, seqLen }, progressTo(folder));
    printResult(json ? JSON.stringify(result) : comparisonTable(result));
    if (keep !== undefined) {
      const last = join(keep, `${options.methods[0]}-${options.sparsities.at(-1)}`);
      say(`the compressed models are in ${keep}; look at one: dsf inspect ${last}`);
    }
  } finally {
    removeTemporary();
  }
}

const progressTo =
  (folder: string) =>
  (event: ComparisonEvent): void => {
    if (event.kind === 'kept') say(`${event.rows} of ${event.total} rows are in ${folder} already`);
    else if (event.kind === 'dense') say(`dense: perplexity ${event.row.perplexity.toFixed(2)}`);
    else if (event.kind === 'tuning') showTuning(event.name, event.event);
    else if (event.kind === 'tuned')
      say(
        `${event.name} fine-tuned: perplexity ${event.row.perplexity.toFixed(2)}, ${formatSeconds(event.row.seconds)}`,
      );
    else if (event.kind === 'row') {
      const { method, sparsity, perplexity, linearBytes, seconds } = event.row;
      say(
        `${method} at ${sparsity}: perplexity ${perplexity.toFixed(2)}, ${formatBytes(linearBytes)}, ${formatSeconds(seconds)}`,
      );
    } else if (event.event.kind === 'product')
      showStatus(`${event.method} at ${event.sparsity}: ${productLine(event.event)}`);
    else if (event.event.kind === 'resumed' && event.event.finished > 0)
      say(
        `${event.method} at ${event.sparsity} goes on: ${event.event.finished} of ${event.event.total} matrices are finished`,
      );
  };

/** Milliseconds between two lines about the steps of a fine-tuning; those between them are shown on a terminal alone. */
const stepLinesApart = 60_000;
let lastStepLine = 0;

function showTuning(name: string, event: FinetuneEvent): void {
  if (event.kind === 'start') {
    lastStepLine = performance.now();
    const from = event.resumedAt > 0 ? ` goes on behind step ${event.resumedAt}` : '';
    say(`fine-tuning of ${name}${from}: ${event.trained} values, ${event.lanes} threads`);
  } else if (event.kind === 'discarded') say(`the checkpoint of ${name} is damaged, it starts over: ${event.problem}`);
  else if (event.kind === 'step') {
    const line = `${name} ${stepLine(event, 'tokens')}`;
    if (event.step < event.steps && performance.now() - lastStepLine < stepLinesApart) showStatus(line);
    else {
      lastStepLine = performance.now();
      say(line);
    }
  }
}
