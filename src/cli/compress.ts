import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { loadCalibration } from '../calibration/load-windows.js';
import { type CompressionResult, compressModel } from '../compression/compress-model.js';
import { type CompressOptions, compressOptionsSchema } from '../compression/compress-options.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import { dryRun } from '../compression/dry-run.js';
import { embedded } from '../compression/embedded.js';
import { openModel } from '../models/llama/open-model.js';
import { compressionSummary, dryRunTable, productLine } from '../report/compression-report.js';
import { addFlags } from './flags.js';
import { printResult, say, showStatus } from './terminal.js';

export function addCompressCommand(program: Command): void {
  const command = program
    .command('compress')
    .description('compress a model: calibrate, factorise block by block, write, verify')
    .argument('<model>', 'Hugging Face folder, .gguf file, or id of a model in the hub cache')
    .requiredOption('--out <folder>', 'folder of the compressed model')
    .option('--dry-run', 'tell what would be done, from headers alone')
    .option('--json', 'print the result as JSON');
  addFlags(command, compressOptionsSchema);
  command.action(async (path: string, flags: CompressOptions & { out: string; dryRun?: boolean; json?: boolean }) => {
    const { out, dryRun: dry = false, json = false, ...rest } = flags;
    const options = compressOptionsSchema.parse(rest);
    const model = openModel(path);
    const { checkpoint } = model;
    const seqLen = Math.min(options.seqLen, model.config.contextLength);
    if (seqLen < options.seqLen) say(`windows of ${seqLen} tokens: the model's context`);
    const settings = { ...options, seqLen };
    if (dry) {
      const plan = dryRun(model, settings);
      return printResult(json ? JSON.stringify(plan) : dryRunTable(plan));
    }
    const text = options.calibration ?? embedded.calibrationText;
    if (options.calibration === undefined)
      say(
        `no --calibration given: calibrating on the embedded ${text.split('/').at(-1)}; text like your own is better`,
      );
    const { samples, seed, bos, textField } = options;
    const windows = await loadCalibration(checkpoint, text, { samples, seed, seqLen, bos, textField });
    say(
      `calibration: ${samples} windows of ${seqLen} tokens out of ${windows.tokens}, ${bos ? 'with' : 'without'} BOS, hash ${windows.hash.slice(0, 12)}`,
    );
    if (windows.overlap) say('the text is short for so many windows: some of them overlap');
    if (windows.truncated) say('the text is longer than what is read at most: only its beginning was used');
    process.once('SIGINT', () => {
      say(`interrupted; every finished matrix is kept in ${out}.run. Repeat the command to go on.`);
      process.exit(130);
    });
    const result = await compressModel(model, windows, out, settings, progressTo);
    const report = { ...summary(result, out), seconds: result.seconds };
    say(compressionSummary(result, out, fileBytes(out)));
    if (json) printResult(JSON.stringify(report));
    checkpoint.close();
  });
}

function progressTo(event: CompressionEvent): void {
  if (event.kind === 'status') showStatus(event.text);
  else if (event.kind === 'resumed')
    say(`going on with an interrupted run: ${event.finished} of ${event.total} matrices are finished`);
  else say(productLine(event));
}

function fileBytes(folder: string): number {
  const status = statSync(`${folder}/model.safetensors`, { throwIfNoEntry: false });
  return status?.size ?? 0;
}

function summary(result: CompressionResult, out: string): Record<string, unknown> {
  const { plan, metrics, linearBytes, denseLinearBytes, nonzeros, budget, factorizationSeconds, peakMemoryBytes } =
    result;
  return {
    out,
    method: plan.method,
    linearBytes,
    denseLinearBytes,
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
