import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { embedded } from '../../../src/compression/embedded.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { encodePrompt } from '../../../src/runtime/generation/encode-prompt.js';
import { openGenerationTokenizer } from '../../../src/runtime/generation/generation-tokenizer.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { errorOf } from '../../formats/expect-error.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { byteLevelTokenizer, forGeneration, sentencePieceTokenizer } from './tiny-tokenizers.js';

const folder = temporaryFolder();

/** The embedded model with other side files. */
function variant(name: string, files: Readonly<Record<string, unknown>>) {
  const path = join(folder, name);
  cpSync(embedded.model, path, { recursive: true });
  for (const [file, value] of Object.entries(files))
    writeFileSync(join(path, file), typeof value === 'string' ? value : JSON.stringify(value));
  const checkpoint = openCheckpoint(path);
  try {
    return openGenerationTokenizer(checkpoint);
  } finally {
    checkpoint.close();
  }
}

describe('end tokens', () => {
  test('of generation_config.json, one or several, and of the tokenizer', () => {
    expect([...variant('one', { 'generation_config.json': { eos_token_id: 7 } }).endIds]).toEqual([7, 0]);
    expect([...variant('list', { 'generation_config.json': { eos_token_id: [7, 9, 0] } }).endIds]).toEqual([7, 9, 0]);
  });

  test('of config.json where generation_config.json has none', () => {
    const plain = { 'tokenizer_config.json': {}, 'generation_config.json': {} };
    expect([...variant('config', plain).endIds]).toEqual([0]);
  });

  test('that are no ids are refused', () => {
    for (const [index, bad] of ['0', -1, 1.5, [null], {}].entries())
      errorOf(() => variant(`bad${index}`, { 'generation_config.json': { eos_token_id: bad } }), 'file-malformed');
  });
});

describe('chat templates', () => {
  const config = (template: unknown) => ({
    'tokenizer_config.json': { bos_token: '<|endoftext|>', chat_template: template },
  });

  test('as a text, as a list of named ones, or none', () => {
    expect(variant('text', config('T')).chatTemplate).toBe('T');
    const list = ['tool_use', 'default'].map((name) => ({ name, template: name.toUpperCase() }));
    expect(variant('named', config(list)).chatTemplate).toBe('DEFAULT');
    expect(variant('none', config(null)).chatTemplate).toBeUndefined();
  });

  test('chat_template.jinja goes before tokenizer_config.json', () => {
    expect(variant('file', { ...config('old'), 'chat_template.jinja': 'new' }).chatTemplate).toBe('new');
  });

  test('that are something else are refused', () => {
    for (const [index, bad] of [5, {}, [{ name: 'default' }]].entries())
      errorOf(() => variant(`template${index}`, config(bad)), 'file-malformed');
  });

  test('special tokens have their text, however they are written', () => {
    const tokens = { bos_token: { content: '<b>' }, eos_token: '<e>', pad_token: null };
    expect(variant('tokens', { 'tokenizer_config.json': tokens }).specialTokens).toEqual({
      bos_token: '<b>',
      eos_token: '<e>',
    });
  });
});

describe('prompts', () => {
  test('a text begins as the post-processor says', async () => {
    const [plain, prefixed] = [forGeneration(byteLevelTokenizer()), forGeneration(sentencePieceTokenizer())];
    expect([...(await encodePrompt(plain, 'a'))]).toEqual([97]);
    expect([...(await encodePrompt(prefixed, 'a'))].slice(0, 1)).toEqual([257]);
  });

  test('an empty text begins with BOS, or is refused', async () => {
    expect([...(await encodePrompt(forGeneration(sentencePieceTokenizer()), ''))]).toEqual([257]);
    await rejectionOf(() => encodePrompt(forGeneration(byteLevelTokenizer()), ''), 'option-out-of-range');
  });

  test('a chat is what its template writes, without a further BOS', async () => {
    const tokenizer = { ...forGeneration(sentencePieceTokenizer()), chatTemplate: '<s>{{ messages[0].content }}' };
    const ids = await encodePrompt(tokenizer, [{ role: 'user', content: 's' }]);
    expect([...ids].filter((id) => id === 257)).toHaveLength(1);
  });

  test('a chat with a model without a template is refused with a hint', async () => {
    const tokenizer = forGeneration(byteLevelTokenizer());
    const error = await rejectionOf(
      () => encodePrompt(tokenizer, [{ role: 'user', content: 'a' }]),
      'option-out-of-range',
    );
    expect(error.hint).toContain('--chat');
  });

  test('ids stay as they are', async () => {
    const ids = Uint32Array.of(1, 2);
    expect(await encodePrompt(forGeneration(byteLevelTokenizer()), ids)).toBe(ids);
  });
});
