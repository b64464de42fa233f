import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { TextTokenizer, tokenText } from '../../calibration/tokenizer.js';
import { DoubleSparseError } from '../../errors.js';
import type { Checkpoint } from '../../formats/checkpoint.js';
import { readJsonObject } from '../../formats/json-file.js';

/** What generation needs to know of a checkpoint beside its weights. */
export interface GenerationTokenizer {
  readonly text: TextTokenizer;
  /** Ids that end a text. */
  readonly endIds: ReadonlySet<number>;
  /** Jinja source; undefined for a model that was not trained on chats. */
  readonly chatTemplate: string | undefined;
  /** Text of named special tokens: bos_token, eos_token, … */
  readonly specialTokens: Readonly<Record<string, string>>;
}

const endIdsSchema = z
  .union([z.int().min(0), z.array(z.int().min(0)).max(1000)])
  .nullish()
  .transform((ids) => (ids === null || ids === undefined ? undefined : [ids].flat()));

const templateSchema = z
  .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() })).max(100)])
  .nullish();

/** Named tokens of tokenizer_config.json that transformers passes to templates. */
const tokenNames = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/**
 * The tokenizer of a checkpoint with its end tokens and chat template. End tokens are those of generation_config.json,
 * else of config.json, and the tokenizer's eos_token; of several named templates the one called default counts.
 * @throws DoubleSparseError of {@link TextTokenizer} and the checkpoint's `tokenizerFiles`; `file-malformed`
 */
export function openGenerationTokenizer(checkpoint: Checkpoint): GenerationTokenizer {
  const files = checkpoint.tokenizerFiles();
  const text = new TextTokenizer(files);
  const specialTokens: Record<string, string> = {};
  for (const name of tokenNames) {
    const token = tokenText(files.config[name]);
    if (token !== undefined) specialTokens[name] = token;
  }
  const end = specialTokens.eos_token === undefined ? undefined : text.idOf(specialTokens.eos_token);
  return {
    text,
    endIds: new Set([...configuredEndIds(checkpoint), ...(end === undefined ? [] : [end])]),
    chatTemplate: defaultTemplate(checkpoint.path, files.config.chat_template),
    specialTokens,
  };
}

function configuredEndIds({ path, format, config }: Checkpoint): number[] {
  const generation = join(path, 'generation_config.json');
  const own = format !== 'gguf' && existsSync(generation) ? readJsonObject(generation) : {};
  return parseEndIds(generation, own) ?? parseEndIds(join(path, 'config.json'), config) ?? [];
}

function parseEndIds(path: string, { eos_token_id: ids }: Readonly<Record<string, unknown>>): number[] | undefined {
  const result = endIdsSchema.safeParse(ids);
  if (result.success) return result.data;
  throw new DoubleSparseError('file-malformed', `${path}: eos_token_id is neither a token id nor a list of them`, {
    data: { path },
  });
}

function defaultTemplate(path: string, value: unknown): string | undefined {
  const { success, data } = templateSchema.safeParse(value);
  if (!success) {
    throw new DoubleSparseError('file-malformed', `${path}: chat_template is neither a text nor a list of named ones`, {
      data: { path },
    });
  }
  return Array.isArray(data) ? data.find(({ name }) => name === 'default')?.template : (data ?? undefined);
}
