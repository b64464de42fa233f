import type { Command } from 'commander';
import { z } from 'zod';
import { loadEvaluation } from '../calibration/load-windows.js';
import { calibrationOptionsSchema } from '../calibration/options.js';
import { factorizationOptionsSchema } from '../compression/layers-options.js';
import { evaluationOptionsSchema } from '../evaluation/options.js';
import { perplexity } from '../evaluation/perplexity.js';
import { chooseEngine } from '../linalg/engines/select.js';
import { openModel } from '../models/llama/open-model.js';
import { formatSeconds } from '../report/table.js';
import { addFlags } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeWindows } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

const { threads, engine } = factorizationOptionsSchema.shape;
const schema = evaluationOptionsSchema.extend({ textField: calibrationOptionsSchema.shape.textField, threads, engine });

export function addEvalCommand(program: Command): void {
  const command = program
    .command('eval')
    .description('perplexity of a model, dense or compressed')
    .argument('<model>', 'Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache')
    .requiredOption('--text <file>', '.txt, .jsonl or .parquet')
    .option('--json', 'print JSON');
  addFlags(command, schema);
  command.action(async (path: string, flags: z.output<typeof schema> & { text: string; json?: boolean }) => {
    const { text, json = false, ...rest } = flags;
    const options = schema.parse(rest);
    const model = openModel(path);
    const { checkpoint } = model;
    const seqLen = cappedSeqLen(options.seqLen, model.config.contextLength);
    const { windows, bos, textField } = options;
    const loaded = await loadEvaluation(checkpoint, text, { seqLen, windows, bos, textField });
    noticeWindows(loaded, 'evaluation');
    noticeEngine(options.engine);
    if (calibrationText(checkpoint.config) === loaded.textHash) {
      say('this is the text that the model was calibrated on: the perplexity is too good');
    }
    const result = await perplexity(model, loaded, {
      engine: chooseEngine(options.engine),
      ...(options.threads !== undefined && { threads: options.threads }),
      onProgress: ({ block, blocks }) => showStatus(`block ${block} of ${blocks}`),
    });
    checkpoint.close();
    say(
      `${result.windows} windows of ${seqLen} tokens from the first token on, ${bos ? 'with' : 'without'} BOS, first token of each not scored; ${formatSeconds(result.seconds)}`,
    );
    const { perplexity: value, standardError, tokens } = result;
    if (json)
      printResult(JSON.stringify({ perplexity: value, standardError, tokens, windows: result.windows, seqLen, bos }));
    else printResult(`perplexity ${value.toFixed(4)} ± ${standardError.toFixed(4)} (${tokens} tokens scored)`);
  });
}

/** Hash of the text that a compressed model was calibrated on. */
function calibrationText(config: Readonly<Record<string, unknown>>): string | undefined {
  const parsed = z.object({ calibration: z.object({ text: z.string() }) }).safeParse(config.quantization_config);
  return parsed.success ? parsed.data.calibration.text : undefined;
}
