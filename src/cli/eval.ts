import type { Command } from 'commander';
import { z } from 'zod';
import { loadEvaluation } from '../calibration/load-windows.js';
import { calibrationOptionsSchema } from '../calibration/options.js';
import type { TokenWindows } from '../calibration/windows.js';
import { factorizationOptionsSchema } from '../compression/layers-options.js';
import { DoubleSparseError } from '../errors.js';
import { evaluationOptionsSchema } from '../evaluation/options.js';
import { perplexity } from '../evaluation/perplexity.js';
import { runtimePerplexity } from '../evaluation/runtime-perplexity.js';
import { chooseEngine } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { formatSeconds } from '../report/table.js';
import { loadTokenModel } from '../runtime/load-model.js';
import { evaluateOnImages } from './eval-images.js';
import { addFlags, flagNames, memorySchema } from './flags.js';
import { addImageFlags, type ImageFlags, imageFlagNames, isOnnxPath, refuseFlags } from './image-flags.js';
import { cappedSeqLen, noticeDecoded, noticeEngine, noticeTuning, noticeWindows } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

const { threads, engine } = factorizationOptionsSchema.shape;
const textSchema = evaluationOptionsSchema.extend({
  textField: calibrationOptionsSchema.shape.textField,
  engine,
  runtime: z
    .enum(['dense', 'sparse'])
    .default('dense')
    .describe(
      'dense expands weights block by block; sparse computes as generate does, from weights as they are stored',
    ),
  memory: memorySchema,
});
const commonSchema = z.object({ threads });

interface OwnFlags {
  text?: string;
  against?: string;
  json?: boolean;
}
type TextFlags = z.output<typeof textSchema> & z.output<typeof commonSchema>;

export function addEvalCommand(program: Command): void {
  const command = program
    .command('eval')
    .description('perplexity of a language model, accuracy or output parity of an ONNX model; dense or compressed')
    .argument(
      '<model>',
      'Hugging Face folder, compressed folder, .gguf or .onnx file, or id of a model in the hub cache',
    )
    .option('--text <file>', 'of a language model: .txt, .jsonl or .parquet')
    .option('--against <model>', 'of an ONNX model: compare the outputs with those of this one, which it was made from')
    .option('--json', 'print JSON');
  addFlags(command, commonSchema);
  addFlags(command, textSchema, 'Options of language models:');
  addImageFlags(command);
  command.action(async (path: string, flags: TextFlags & ImageFlags & OwnFlags) => {
    const { text, images } = flags;
    if (isOnnxPath(path)) {
      refuseFlags(command, ['text', ...flagNames(textSchema)], 'are for language models, not for an ONNX model');
      if (images === undefined) throw missing('images', 'an ONNX model is evaluated on images');
      return evaluateOnImages(path, { ...flags, images }, command);
    }
    refuseFlags(command, ['against', ...imageFlagNames], 'are for ONNX models (.onnx), not for a language model');
    if (text === undefined) throw missing('text', 'a language model is evaluated on a text');
    if (flags.memory !== undefined && flags.runtime !== 'sparse') throw memoryWithoutRuntime();
    return evaluateOnText(path, text, flags);
  });
}

function missing(option: string, message: string): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', message, { data: { option }, hint: `give --${option}` });
}

function memoryWithoutRuntime(): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', '--memory is for the sparse runtime', {
    data: { option: 'memory' },
    hint: 'add --runtime sparse',
  });
}

async function evaluateOnText(path: string, text: string, flags: TextFlags & OwnFlags): Promise<void> {
  const { json = false } = flags;
  const model = openModel(path, chooseEngine(flags.engine));
  const { checkpoint } = model;
  const seqLen = cappedSeqLen(flags.seqLen, model.config.contextLength);
  const { windows, bos, textField } = flags;
  const loaded = await loadEvaluation(checkpoint, text, { seqLen, windows, bos, textField });
  noticeWindows(loaded, 'evaluation');
  noticeEngine(flags.engine);
  if (calibrationText(checkpoint.config) === loaded.textHash) {
    say('this is the text that the model was calibrated on: the perplexity is too good');
  }
  const compute = flags.runtime === 'sparse' ? sparsePerplexity : densePerplexity;
  const result = await compute(model, loaded, flags);
  checkpoint.close();
  say(
    `${result.windows} windows of ${seqLen} tokens from the first token on, ${bos ? 'with' : 'without'} BOS, first token of each not scored; ${formatSeconds(result.seconds)}`,
  );
  const { perplexity: value, standardError, tokens } = result;
  const { vocabularySize } = model.config;
  if (value >= vocabularySize)
    say(
      `no better than guessing among ${vocabularySize} tokens: the model is damaged or compressed beyond use, or its tokenizer is another model's`,
    );
  if (json)
    printResult(
      JSON.stringify({
        perplexity: value,
        standardError,
        tokens,
        windows: result.windows,
        seqLen,
        bos,
        runtime: flags.runtime,
      }),
    );
  else printResult(`perplexity ${value.toFixed(4)} ± ${standardError.toFixed(4)} (${tokens} tokens scored)`);
}

function densePerplexity(model: LlamaModel, text: TokenWindows, { engine, threads }: TextFlags) {
  return perplexity(model, text, {
    engine: chooseEngine(engine),
    ...(threads !== undefined && { threads }),
    onProgress: ({ block, blocks }) => showStatus(`block ${block} of ${blocks}`),
  });
}

async function sparsePerplexity(llama: LlamaModel, text: TokenWindows, { engine, threads, memory }: TextFlags) {
  const loaded = await loadTokenModel(llama, {
    capacity: text.seqLen,
    engine,
    ...(threads !== undefined && { threads }),
    ...(memory !== undefined && { memory }),
  });
  noticeTuning(loaded);
  noticeDecoded(loaded);
  try {
    const onProgress = (windows: number): void => showStatus(`window ${windows} of ${text.windows.length}`);
    return await runtimePerplexity(loaded.model, text, { onProgress });
  } finally {
    await loaded.model.close();
  }
}

/** Hash of the text that a compressed model was calibrated on. */
function calibrationText(config: Readonly<Record<string, unknown>>): string | undefined {
  const parsed = z.object({ calibration: z.object({ text: z.string() }) }).safeParse(config.quantization_config);
  return parsed.success ? parsed.data.calibration.text : undefined;
}
