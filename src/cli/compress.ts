import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type LoadOptions, loadCalibration, loadEvaluation } from '../calibration/load-windows.js';
import { type CompressionResult, compressModel } from '../compression/compress-model.js';
import { type CompressOptions, compressOptionsSchema } from '../compression/compress-options.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import { dryRun } from '../compression/dry-run.js';
import { embedded } from '../compression/embedded.js';
import { evaluationOptionsSchema } from '../evaluation/options.js';
import { perplexity } from '../evaluation/perplexity.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { compressionSummary, dryRunTable, productLine } from '../report/compression-report.js';
import { addFlags } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeWindows } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

interface OwnFlags {
  out: string;
  evaluate?: string;
  windows?: number;
  dryRun?: boolean;
  json?: boolean;
}

export function addCompressCommand(program: Command): void {
  const command = program
    .command('compress')
    .description('compress a model: calibrate, factorise block by block, write, verify')
    .argument('<model>', 'Hugging Face folder, .gguf file, or id of a model in the hub cache')
    .requiredOption('--out <folder>', 'folder of the compressed model')
    .option('--evaluate <file>', 'afterwards the perplexity of both models on this text')
    .option('--dry-run', 'tell what would be done, from headers alone')
    .option('--json', 'print the result as JSON');
  addFlags(command, compressOptionsSchema);
  addFlags(command, evaluationOptionsSchema.pick({ windows: true }));
  command.action(async (path: string, flags: CompressOptions & OwnFlags) => {
    const { out: folder, evaluate, windows: evaluationWindows, dryRun: dry = false, json = false, ...rest } = flags;
    const out = resolve(folder);
    const options = compressOptionsSchema.parse(rest);
    const model = openModel(path);
    const { checkpoint } = model;
    const seqLen = cappedSeqLen(options.seqLen, model.config.contextLength);
    const settings = { ...options, seqLen };
    if (dry) {
      const plan = dryRun(model, settings);
      return printResult(json ? JSON.stringify(plan) : dryRunTable(plan));
    }
    const text = options.calibration ?? embedded.calibrationText;
    if (options.calibration === undefined)
      say(`no --calibration given: calibrating on the embedded ${basename(text)}; text like your own is better`);
    const { samples, seed, bos, textField } = options;
    const windows = await loadCalibration(checkpoint, text, { samples, seed, seqLen, bos, textField });
    say(
      `calibration: ${samples} windows of ${seqLen} tokens out of ${windows.tokens}, ${bos ? 'with' : 'without'} BOS, hash ${windows.hash.slice(0, 12)}`,
    );
    noticeWindows(windows, 'calibration');
    noticeEngine(options.engine);
    process.once('SIGINT', () => {
      say(
        `interrupted; every finished matrix is kept in ${out}.run. To go on:\n  dsf ${process.argv.slice(2).join(' ')}`,
      );
      process.exit(130);
    });
    const result = await compressModel(model, windows, out, settings, progressTo);
    const summaryText = compressionSummary(result, out, modelBytes(out));
    if (json) say(summaryText);
    else printResult(summaryText);
    const evaluation =
      evaluate === undefined
        ? undefined
        : await evaluateBoth(model, out, evaluate, { seqLen, bos, textField, windows: evaluationWindows });
    const report = { ...summary(result, out), seconds: result.seconds, ...(evaluation && { evaluation }) };
    if (json) printResult(JSON.stringify(report));
    checkpoint.close();
  });
}

/** Perplexities of the source and of what was made of it, on one text. */
async function evaluateBoth(
  model: LlamaModel,
  out: string,
  text: string,
  options: LoadOptions & { windows?: number | undefined },
): Promise<{ dense: number; compressed: number; standardError: number; windows: number }> {
  const loaded = await loadEvaluation(model.checkpoint, text, options);
  const dense = await perplexity(model, loaded);
  const written = openModel(out);
  const compressed = await perplexity(written, loaded);
  written.checkpoint.close();
  const { perplexity: value, standardError, windows } = compressed;
  say(
    `perplexity on ${windows} x ${options.seqLen} tokens: dense ${dense.perplexity.toFixed(3)}, compressed ${value.toFixed(3)} ± ${standardError.toFixed(3)}`,
  );
  return { dense: dense.perplexity, compressed: value, standardError, windows };
}

function progressTo(event: CompressionEvent): void {
  if (event.kind === 'status') showStatus(event.text);
  else if (event.kind === 'resumed')
    say(`going on with an interrupted run: ${event.finished} of ${event.total} matrices are finished`);
  else say(productLine(event));
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
