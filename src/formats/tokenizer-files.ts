import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import type { TokenizerFiles } from './checkpoint.js';
import { readJsonFile, readJsonObject } from './json-file.js';
import { PositionalFile } from './positional-file.js';

/** A chat template is a page of text; the longest known has 20 kB. */
const maximumTemplateBytes = 1e6;

/**
 * tokenizer.json and tokenizer_config.json of a Hugging Face folder; a chat_template.jinja beside them becomes
 * `config.chat_template` and goes before one that is there, as in transformers.
 * @throws DoubleSparseError `file-unreadable` when there is no tokenizer.json, `file-malformed`
 */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const path = join(folder, 'tokenizer.json');
  if (!existsSync(path)) {
    const slow = existsSync(join(folder, 'tokenizer.model'));
    throw new DoubleSparseError('file-unreadable', `${folder} has no tokenizer.json`, {
      data: { path },
      hint: slow
        ? 'tokenizer.model alone is not read; AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers writes a tokenizer.json'
        : 'copy the tokenizer files of the model into the folder',
    });
  }
  const configPath = join(folder, 'tokenizer_config.json');
  const config = existsSync(configPath) ? readJsonObject(configPath) : {};
  const templatePath = join(folder, 'chat_template.jinja');
  if (!existsSync(templatePath)) return { tokenizer: readJsonFile(path), config };
  return { tokenizer: readJsonFile(path), config: { ...config, chat_template: readText(templatePath) } };
}

function readText(path: string): string {
  const file = new PositionalFile(path);
  try {
    if (file.size > maximumTemplateBytes) {
      throw new DoubleSparseError('file-malformed', `${path} has ${file.size} bytes, at most ${maximumTemplateBytes}`, {
        data: { path, size: file.size },
      });
    }
    const bytes = new Uint8Array(file.size);
    file.readFully(bytes, 0);
    return new TextDecoder('utf-8').decode(bytes);
  } finally {
    file.close();
  }
}
