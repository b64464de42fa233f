import { setImmediate } from 'node:timers/promises';
import type { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { Random } from '../../linalg/random.js';
import { checkIds } from '../../models/llama/embedding.js';
import type { TokenModel } from '../token-model.js';
import { encodePrompt, type Prompt } from './encode-prompt.js';
import type { GenerationTokenizer } from './generation-tokenizer.js';
import { checkGenerationOptions, type generationOptionsSchema } from './options.js';
import { sampleToken } from './sample-token.js';
import { StopStrings } from './stop-strings.js';
import { StreamingDetokenizer } from './streaming-detokenizer.js';

/** Tokens of a prompt that go through the model at a time; between them it can be interrupted. */
const promptChunk = 512;

export interface GenerateOptions extends z.input<typeof generationOptionsSchema> {
  /** Ends the generation behind the token in work, with what there is. */
  signal?: AbortSignal;
}

/**
 * Why a text ended: maxTokens (`length`), a stop string (`stop`), an end token of the model (`end`), no room in its
 * cache (`cache`), the signal (`interrupted`).
 */
export type EndReason = 'length' | 'stop' | 'end' | 'cache' | 'interrupted';

export interface GenerationResult {
  /** All pieces together. */
  readonly text: string;
  /** Ids of the tokens generated, without the end token. The text of the last may have been cut at a stop string. */
  readonly ids: readonly number[];
  readonly promptTokens: number;
  /** Seconds of the model on the prompt. */
  readonly promptSeconds: number;
  /** Seconds of the tokens after that, the consumer's time between pieces left out. */
  readonly generationSeconds: number;
  /** Seconds from the call to the choice of the first token; undefined when there was none. */
  readonly firstTokenSeconds: number | undefined;
  readonly reason: EndReason;
}

/**
 * Continues a text or answers a chat, piece by piece:
 *
 *     for await (const piece of generate(model, tokenizer, prompt, options)) process.stdout.write(piece);
 *
 * Pieces are never empty and hold whole characters, without special tokens. The generator returns the
 * {@link GenerationResult} (`next()` gives it when `done`). It may be abandoned at any piece: it holds nothing but its
 * arguments, and the model remains the caller's, to be used again or closed.
 * @param model whatever its cache holds is forgotten. One text at a time.
 * @throws DoubleSparseError `option-out-of-range` for options, an empty prompt, or one that does not fit the cache;
 *   `run-in-use` when the model is used for something else meanwhile; `non-finite-value`; of {@link encodePrompt} and
 *   the model
 */
export async function* generate(
  model: TokenModel,
  tokenizer: GenerationTokenizer,
  prompt: Prompt,
  { signal, ...options }: GenerateOptions = {},
): AsyncGenerator<string, GenerationResult, void> {
  const start = performance.now();
  const settings = checkGenerationOptions(options);
  const promptIds = await encodePrompt(tokenizer, prompt);
  checkIds(promptIds, model.vocabularySize);
  checkRoom(promptIds.length, model.capacity);

  const random = new Random(settings.seed);
  const seen = new Set(promptIds);
  const detokenizer = new StreamingDetokenizer(tokenizer.text, promptIds);
  const stops = new StopStrings(settings.stop);
  const ids: number[] = [];
  let text = '';
  let firstTokenSeconds: number | undefined;
  let generationSeconds = 0;

  let clock = performance.now();
  let logits = await extendByPrompt(model, promptIds, signal);
  const promptSeconds = secondsSince(clock);
  clock = performance.now();
  let reason: EndReason = 'interrupted';
  while (logits && !signal?.aborted) {
    const id = sampleToken(logits, seen, settings, random);
    firstTokenSeconds ??= secondsSince(start);
    if (tokenizer.endIds.has(id)) {
      reason = 'end';
      break;
    }
    ids.push(id);
    seen.add(id);
    const piece = stops.push(detokenizer.push(id));
    if (piece !== '') {
      text += piece;
      generationSeconds += secondsSince(clock);
      yield piece;
      clock = performance.now();
    }
    const end = endBehind(ids.length, settings.maxTokens, stops, model);
    if (end) {
      reason = end;
      break;
    }
    logits = await extend(model, [id], promptIds.length + ids.length - 1);
  }
  const rest = stops.push(detokenizer.end()) + stops.end();
  if (stops.found) reason = 'stop';
  text += rest;
  generationSeconds += secondsSince(clock);
  if (rest !== '') yield rest;
  return {
    text,
    ids,
    promptTokens: promptIds.length,
    promptSeconds,
    generationSeconds,
    firstTokenSeconds,
    reason,
  };
}

function endBehind(
  tokens: number,
  maxTokens: number,
  stops: StopStrings,
  { position, capacity }: TokenModel,
): EndReason | undefined {
  if (stops.found) return 'stop';
  if (tokens >= maxTokens) return 'length';
  return position >= capacity ? 'cache' : undefined;
}

/** Logits behind the prompt; undefined if the signal came before its end. */
async function extendByPrompt(
  model: TokenModel,
  ids: Uint32Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array | undefined> {
  model.truncate(0);
  let logits: Float32Array | undefined;
  for (let from = 0; from < ids.length; from += promptChunk) {
    if (signal?.aborted) return undefined;
    logits = await extend(model, ids.subarray(from, from + promptChunk), from);
  }
  return logits;
}

async function extend(model: TokenModel, ids: ArrayLike<number>, position: number): Promise<Float32Array> {
  // A model that computes on this thread would otherwise let no signal and no output through.
  await setImmediate();
  if (model.position === position) return model.extend(ids);
  throw new DoubleSparseError(
    'run-in-use',
    `the model's cache holds ${model.position} positions in place of ${position}: it is used for something else meanwhile`,
    {
      data: { position: model.position, expected: position },
      hint: 'generate one text at a time with a model, or load it once for each',
    },
  );
}

function checkRoom(tokens: number, capacity: number): void {
  if (tokens <= capacity) return;
  throw new DoubleSparseError(
    'option-out-of-range',
    `the prompt has ${tokens} tokens, the model's cache room for ${capacity}`,
    {
      data: { option: 'prompt', tokens, capacity },
      hint: 'shorten the prompt, or give the cache more room (--context), up to the context of the model',
    },
  );
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000;
