import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import type { TokenizerFiles } from '../../../src/formats/checkpoint.js';
import { GgufCheckpoint } from '../../../src/formats/gguf/checkpoint.js';
import { preTokenizers } from '../../../src/formats/gguf/pre-tokenizers.js';
import { errorOf } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { buildGguf, type GgufSpec, tinySpec } from './build-gguf.js';

const folder = temporaryFolder();
let count = 0;

function filesOf(extra: GgufSpec['metadata']): TokenizerFiles {
  const path = join(folder, `${count++}.gguf`);
  writeFileSync(path, buildGguf(tinySpec('llama', extra)));
  const checkpoint = new GgufCheckpoint(path);
  try {
    return checkpoint.tokenizerFiles();
  } finally {
    checkpoint.close();
  }
}

/** The printable characters that stand for the 256 bytes in byte-level BPE. */
const bytes = Array.from({ length: 256 }, (_, i) => i).map((byte) =>
  String.fromCodePoint((byte > 32 && byte < 127) || (byte > 160 && byte !== 173) ? byte : 256 + byte),
);

/** How a kind splits text: with a merge for every pair of characters, each piece is one token. */
function pieces(kind: string, text: string): string[] {
  const files = filesOf([['tokenizer.ggml.pre', 'string', kind]]);
  const json = files.tokenizer as { pre_tokenizer: unknown; normalizer: unknown; model: Record<string, unknown> };
  const characters = [...new Set([...text, ...bytes])];
  const vocab = Object.fromEntries(characters.map((token, id) => [token, id]));
  const encoder = new Tokenizer(
    { ...json, model: { ...json.model, vocab, merges: [], ignore_merges: false }, added_tokens: [] } as never,
    files.config as never,
  );
  return (encoder as unknown as { pre_tokenizer: (text: string) => string[] }).pre_tokenizer(text);
}

const decodeSpace = (list: string[]) => list.map((piece) => piece.replaceAll('Ġ', ' ').replaceAll('Ċ', '\n'));

describe('text is split as the kind says', () => {
  test.each([
    ['gpt-2', ['I', "'m", ' 1234', ' ok', '!!', '  ', ' x', '\n']],
    ['smollm', ['I', "'m", ' ', '1', '2', '3', '4', ' ok', '!!', '  ', ' x', '\n']],
    ['llama-bpe', ['I', "'m", ' ', '123', '4', ' ok', '!!', '  ', ' x', '\n']],
    ['qwen2', ['I', "'m", ' ', '1', '2', '3', '4', ' ok', '!!', '  ', ' x', '\n']],
    ['default', ['I', "'", 'm', ' ', '123', '4', ' ok', '!!', '  ', ' x', '\n']],
  ])('%s', (kind, expected) => {
    expect(decodeSpace(pieces(kind, "I'm 1234 ok!!   x\n"))).toEqual(expected);
  });

  test('capitals begin a piece in tekken', () => {
    expect(decodeSpace(pieces('tekken', 'someCamel CASE'))).toEqual(['some', 'Camel', ' CASE']);
  });

  test.each([...preTokenizers.keys()])('%s can be built', (kind) => {
    expect(pieces(kind, 'Text, 42 <|x|> 日本\r\n\tend').join('').length).toBeGreaterThan(10);
  });

  test('an unknown kind is refused by name', () => {
    expect(errorOf(() => filesOf([['tokenizer.ggml.pre', 'string', 'martian']]), 'file-unsupported').message).toContain(
      'martian',
    );
    expect(errorOf(() => filesOf([['tokenizer.ggml.model', 'string', 't5']]), 'file-unsupported').message).toContain(
      't5',
    );
  });
});

test('special tokens, padding rows and BOS', () => {
  const { tokenizer, config } = filesOf([
    ['tokenizer.ggml.pre', 'string', 'llama-bpe'],
    ['tokenizer.ggml.bos_token_id', 'u32', 4],
    ['tokenizer.ggml.padding_token_id', 'u32', 0xffffffff],
  ]);
  expect(config).toMatchObject({ bos_token: '<|end|>', eos_token: '<|end|>', add_bos_token: true });
  expect(config).not.toHaveProperty('pad_token');
  expect(tokenizer).toMatchObject({
    added_tokens: [{ id: 4, content: '<|end|>', special: true }],
    model: { ignore_merges: true },
  });
  const { vocab } = (tokenizer as { model: { vocab: Record<string, number> } }).model;
  expect(Object.keys(vocab)).toEqual(['a', 'b', 'Ġ', 'ab', '<|end|>']);
  const encoder = new Tokenizer(tokenizer as never, config as never);
  expect(encoder.encode('ab a<|end|>').ids).toEqual([4, 3, 2, 0, 4]);
  expect(encoder.encode('ab', { add_special_tokens: false }).ids).toEqual([3]);
});

test('names that JavaScript objects already have are tokens like others', () => {
  const tokens = ['__proto__', 'constructor', '\ufeff', 'a', 'b', ''];
  const { tokenizer } = filesOf([['tokenizer.ggml.tokens', '[]string', tokens]]);
  const { vocab } = (tokenizer as { model: { vocab: Record<string, number> } }).model;
  expect(Object.entries(vocab)).toEqual([...tokens.slice(0, 5), '[EMPTY_5]'].map((token, id) => [token, id]));
});

test.each([
  ['a token that comes twice', [['tokenizer.ggml.tokens', '[]string', ['a', 'b', 'a', 'c', 'd', 'e']]]],
  ['types that do not fit', [['tokenizer.ggml.token_type', '[]i32', [1, 2]]]],
  ['tokens that are no strings', [['tokenizer.ggml.tokens', '[]u32', [1, 2, 3, 4, 5, 6]]]],
  ['a merge that is no pair', [['tokenizer.ggml.merges', '[]string', ['ab']]]],
  ['a merge with an empty half', [['tokenizer.ggml.merges', '[]string', ['a ']]]],
  ['scores that are missing', [['tokenizer.ggml.model', 'string', 'llama']]],
] as const)('%s is refused', (_, extra) => {
  errorOf(() => filesOf(extra), 'file-malformed');
});
