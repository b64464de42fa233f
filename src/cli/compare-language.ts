import { join } from 'node:path';
import { loadCalibration, loadEvaluation } from '../calibration/load-windows.js';
import { compareModels } from '../comparison/compare-models.js';
import { type ComparisonEvent, compareOptionsSchema } from '../comparison/comparison.js';
import { embedded } from '../compression/embedded.js';
import { chooseEngine } from '../linalg/engines/select.js';
import { openModel } from '../models/llama/open-model.js';
import { comparisonTable } from '../report/comparison-table.js';
import { productLine } from '../report/compression-report.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { inComparisonFolder } from './comparison-folder.js';
import { parseOptions } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeShared, noticeWindows } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';
import { showTuning } from './tuning-progress.js';

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
  const smaller = against === undefined ? undefined : openModel(against, chooseEngine(options.engine));
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
  const other = smaller && {
    model: smaller,
    evaluation: await loadEvaluation(smaller.checkpoint, text, { ...loading, windows }),
  };
  const texts = { calibration, evaluation, ...(finetuning && { finetuning }), ...(other && { against: other }) };
  await inComparisonFolder(keep, 'finished rows and matrices', async (place) => {
    const result = await compareModels(model, texts, place, { ...options, seqLen }, progressTo(place.folder));
    printResult(json ? JSON.stringify(result) : comparisonTable(result));
    if (keep !== undefined) {
      const last = join(keep, `${options.methods[0]}-${options.sparsities.at(-1)}`);
      say(`the compressed models are in ${keep}; look at one: dsf inspect ${last}`);
    }
  });
}

const progressTo =
  (folder: string) =>
  (event: ComparisonEvent): void => {
    if (event.kind === 'kept') say(`${event.rows} of ${event.total} rows are in ${folder} already`);
    else if (event.kind === 'dense') say(`dense: perplexity ${event.row.perplexity.toFixed(2)}`);
    else if (event.kind === 'tuning') showTuning(event.name, event.event, 'tokens');
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
