import { type Command, Option } from 'commander';
import { z } from 'zod';
import { factorizationOptionsSchema } from '../compression/layers-options.js';
import { DoubleSparseError } from '../errors.js';
import { openModel } from '../models/llama/open-model.js';
import { encodePrompt, type Prompt } from '../runtime/generation/encode-prompt.js';
import { type EndReason, type GenerationResult, generate } from '../runtime/generation/generate.js';
import { type GenerationTokenizer, openGenerationTokenizer } from '../runtime/generation/generation-tokenizer.js';
import {
  checkGenerationOptions,
  type GenerationOptions,
  generationOptionsSchema,
} from '../runtime/generation/options.js';
import { loadTokenModel } from '../runtime/load-model.js';
import { addFlags, memorySchema } from './flags.js';
import { noticeDecoded, noticeTuning } from './notices.js';
import { readStandardInput } from './standard-input.js';
import { printResult, say, showStatus } from './terminal.js';

const ownSchema = z.object({
  chat: z.boolean().default(false).describe("answer the prompt as a message, in the model's chat template"),
  system: z.string().optional().describe('system message of the chat'),
  threads: factorizationOptionsSchema.shape.threads,
  context: z
    .int()
    .min(1)
    .optional()
    .describe("positions of prompt and text together (default: the model's context, at most 4096)"),
  memory: memorySchema,
});

const interrupted = 130;

type Flags = GenerationOptions & z.output<typeof ownSchema> & { prompt: string; json?: boolean };

export function addGenerateCommand(program: Command): void {
  const command = program
    .command('generate')
    .description('continue a text or answer a message; greedy unless a temperature is given')
    .argument('<model>', 'Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache')
    .requiredOption('--prompt <text>', 'text to continue; - reads it from standard input, without its last line end')
    .option('--json', 'print one JSON object in place of the text');
  addFlags(command, ownSchema);
  addFlags(command, generationOptionsSchema.omit({ stop: true }));
  // Not split at commas as other lists are: a stop string may hold any character.
  const { description = '' } = generationOptionsSchema.shape.stop;
  const collect = (text: string, earlier: string[] | undefined): string[] => [...(earlier ?? []), text];
  command.addOption(new Option('--stop <text>', description).argParser(collect));
  command.action(async (path: string, { prompt: given, json = false, ...flags }: Flags) => {
    const { chat, system, threads, context, memory, ...rest } = flags;
    const options = checkGenerationOptions(rest);
    if (system !== undefined && !chat) throw systemWithoutChat();
    const text = given === '-' ? await readStandardInput() : given;
    const llama = openModel(path);
    try {
      const tokenizer = openGenerationTokenizer(llama.checkpoint);
      const prompt = await encodePrompt(tokenizer, chat ? chatOf(text, system) : text);
      noticeSampling(options);
      const { contextLength } = llama.config;
      if (context !== undefined && context > contextLength)
        say(`--context ${context} is more than the ${contextLength} positions that the model was made for`);
      const loaded = await loadTokenModel(llama, {
        ...(threads !== undefined && { threads }),
        ...(context !== undefined && { capacity: context }),
        ...(memory !== undefined && { memory }),
      });
      noticeTuning(loaded);
      noticeDecoded(loaded);
      const { model } = loaded;
      try {
        say(`prompt tokens: ${prompt.length}, ${beginning(tokenizer, prompt)}`);
        const result = await printed(json, (signal) => generate(model, tokenizer, prompt, { ...options, signal }));
        if (json) printResult(JSON.stringify(jsonOf(result)));
        else process.stdout.write('\n');
        say(summary(result));
        if (result.reason === 'interrupted') process.exitCode = interrupted;
      } finally {
        await model.close();
      }
    } finally {
      llama.checkpoint.close();
    }
  });
}

/** Runs a generation to its end or Ctrl-C, its pieces to standard output unless all comes at the end as JSON. */
async function printed(
  json: boolean,
  start: (signal: AbortSignal) => AsyncGenerator<string, GenerationResult, void>,
): Promise<GenerationResult> {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  // Once: a second Ctrl-C ends the process at once.
  process.once('SIGINT', abort);
  // The reader of a pipe has seen enough.
  process.stdout.on('error', abort);
  const pieces = start(controller.signal);
  try {
    for (let count = 1; ; count++) {
      const next = await pieces.next();
      if (next.done) return next.value;
      if (json) showStatus(`${count} pieces`);
      else process.stdout.write(next.value);
    }
  } finally {
    process.removeListener('SIGINT', abort);
  }
}

const chatOf = (text: string, system: string | undefined): Prompt => [
  ...(system === undefined ? [] : [{ role: 'system', content: system }]),
  { role: 'user', content: text },
];

/** What the sequence begins with. */
function beginning({ text }: GenerationTokenizer, prompt: Uint32Array): string {
  const first = prompt[0] as number;
  const begins = first === text.bosId || text.prefix[0] === first;
  return begins ? `beginning with ${text.decode([first])}` : 'no BOS';
}

function noticeSampling({ temperature, topK, topP, minP, seed }: GenerationOptions): void {
  const idle = topK !== 0 || topP !== 1 || minP !== 0 || seed !== 0;
  if (temperature > 0) say(`sampling at temperature ${temperature}, seed ${seed}`);
  else if (idle) say('greedy: at temperature 0 --top-k, --top-p, --min-p and --seed change nothing');
  else say('greedy (temperature 0)');
}

const ends: Readonly<Record<EndReason, string>> = {
  length: 'ended by --max-tokens',
  stop: 'ended by a stop string',
  end: 'ended by the model',
  cache: 'ended because the context is full; --context gives more, up to that of the model',
  interrupted: 'interrupted',
};

function summary(result: GenerationResult): string {
  const { promptTokens, promptSeconds, ids, generationSeconds, firstTokenSeconds, reason } = result;
  // The first token comes with the prompt.
  const later = Math.max(0, ids.length - 1);
  const first = firstTokenSeconds === undefined ? '' : `, first token after ${firstTokenSeconds.toFixed(2)} s`;
  return (
    `${promptTokens} prompt tokens in ${promptSeconds.toFixed(2)} s (${rate(promptTokens, promptSeconds)})${first}; ` +
    `${ids.length} tokens in ${generationSeconds.toFixed(2)} s (${rate(later, generationSeconds)}); ${ends[reason]}`
  );
}

const rate = (tokens: number, seconds: number): string =>
  `${seconds > 0 ? (tokens / seconds).toFixed(1) : '-'} tokens/s`;

function jsonOf({ ids, ...result }: GenerationResult): unknown {
  return { ...result, tokens: ids.length, ids };
}

function systemWithoutChat(): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', '--system is for chats', {
    data: { option: 'system' },
    hint: 'add --chat, or put the text into --prompt',
  });
}
