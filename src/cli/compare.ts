import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { loadCalibration, loadEvaluation } from '../calibration/load-windows.js';
import { sharedText } from '../calibration/overlap.js';
import { compareModels } from '../compression/compare-models.js';
import { type CompareOptions, type ComparisonEvent, compareOptionsSchema } from '../compression/comparison.js';
import { embedded } from '../compression/embedded.js';
import { openModel } from '../models/llama/open-model.js';
import { comparisonTable } from '../report/comparison-table.js';
import { productLine } from '../report/compression-report.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { addFlags } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeWindows } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

interface OwnFlags {
  text?: string;
  against?: string;
  keep?: string;
  json?: boolean;
}

export function addCompareCommand(program: Command): void {
  const command = program
    .command('compare')
    .description('compress a model by several methods and evaluate all of them next to the dense model')
    .argument('<model>', 'Hugging Face folder, .gguf file, or id of a model in the hub cache')
    .option('--text <file>', 'text to evaluate on (default: the embedded State of the Union addresses)')
    .option('--against <model>', 'a smaller dense model: is the compressed one better at as many weights?')
    .option(
      '--keep <folder>',
      'keep the compressed models in this folder, and go on from what an interrupted comparison left there',
    )
    .option('--json', 'print JSON instead of a table');
  addFlags(command, compareOptionsSchema);
  command.action(async (path: string, flags: CompareOptions & OwnFlags) => {
    const { text = embedded.evaluationText, against, keep, json = false, ...rest } = flags;
    const options = compareOptionsSchema.parse(rest);
    const model = openModel(path);
    const smaller = against === undefined ? undefined : openModel(against);
    const context = Math.min(model.config.contextLength, smaller?.config.contextLength ?? Number.POSITIVE_INFINITY);
    const seqLen = cappedSeqLen(options.seqLen, context);
    const { samples, seed, bos, textField, windows } = options;
    const loading = { seqLen, bos, textField };
    const calibrationText = options.calibration ?? embedded.calibrationText;
    const calibration = await loadCalibration(model.checkpoint, calibrationText, { ...loading, samples, seed });
    const evaluation = await loadEvaluation(model.checkpoint, text, { ...loading, windows });
    noticeWindows(calibration, 'calibration');
    noticeWindows(evaluation, 'evaluation');
    noticeEngine(options.engine);
    const common = sharedText(calibration.windows, evaluation.windows);
    if (common > 0.01)
      say(
        `${(100 * common).toFixed(0)} % of the evaluation text is also in the calibration text: the perplexities are too good`,
      );
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
        say(
          `interrupted; finished rows and matrices are kept in ${keep}. To go on:\n  dsf ${process.argv.slice(2).join(' ')}`,
        );
      process.exit(130);
    });
    const other = smaller && {
      model: smaller,
      evaluation: await loadEvaluation(smaller.checkpoint, text, { ...loading, windows }),
    };
    try {
      const texts = { calibration, evaluation, ...(other && { against: other }) };
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
  });
}

const progressTo =
  (folder: string) =>
  (event: ComparisonEvent): void => {
    if (event.kind === 'kept') say(`${event.rows} of ${event.total} rows are in ${folder} already`);
    else if (event.kind === 'dense') say(`dense: perplexity ${event.row.perplexity.toFixed(2)}`);
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
