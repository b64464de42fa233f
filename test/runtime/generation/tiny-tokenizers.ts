import { TextTokenizer } from '../../../src/calibration/tokenizer.js';
import type { GenerationTokenizer } from '../../../src/runtime/generation/generation-tokenizer.js';

const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** The printable character that byte-level BPE writes for each byte (GPT-2's table). */
const byteCharacters = (() => {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
})();

/** Pairs that byte-level tokens 257 … are made of: beginnings, ends and middles of characters among them. */
const merges: readonly (readonly [number, number])[] = [
  [0x61, 0x62],
  [0xf0, 0x9f],
  [0x98, 0x80],
  [0x80, 0x61],
  [0xc3, 0xa9],
  [0x62, 0xe2],
  [0x82, 0xac],
  [0x0a, 0x0a],
  [0x9f, 0x98],
];

/** Id of the end token of both tokenizers. */
export const endId = 256;
/** Ids of byteLevelTokenizer: 0-255 bytes, 256 `<end>`, then the merges. */
export const byteLevelSize = 257 + merges.length;

/** Byte-level BPE in which any byte can be a token of its own: id = byte. No prefix. */
export function byteLevelTokenizer(): TextTokenizer {
  const tokens = byteCharacters.map((character, byte) => [character, byte] as [string, number]);
  const pairs = merges.map(([a, b]) => [byteCharacters[a] as string, byteCharacters[b] as string]);
  pairs.forEach(([a, b], index) => {
    tokens.push([`${a}${b}`, 257 + index]);
  });
  return new TextTokenizer({
    tokenizer: {
      version: '1.0',
      added_tokens: [special(endId, '<end>')],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab: Object.fromEntries(tokens), merges: pairs },
    },
    config: { eos_token: '<end>' },
  });
}

const words = ['▁', '▁a', '▁word', 's', 'a', 'b', '.', '▁😀', 'é', '▁▁'];

/** Ids of sentencePieceTokenizer: 0-255 the bytes `<0x00>` …, 256 `<end>`, 257 `<s>`, then some words. */
export const sentencePieceSize = 258 + words.length;

/** SentencePiece-like BPE with byte fallback; `<s>` before every text, the first space of a text is not written. */
export function sentencePieceTokenizer(): TextTokenizer {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const vocab = Object.fromEntries([...bytes, '<end>', '<s>', ...words].map((token, id) => [token, id]));
  return new TextTokenizer({
    tokenizer: {
      version: '1.0',
      added_tokens: [special(endId, '<end>'), special(257, '<s>')],
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
      pre_tokenizer: null,
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: { '<s>': { id: '<s>', ids: [257], tokens: ['<s>'] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: { type: 'BPE', vocab, merges: [['▁', 'a']], byte_fallback: true, unk_token: null, fuse_unk: true },
    },
    config: { bos_token: '<s>', eos_token: '<end>' },
  });
}

/** The tokenizer of a model that was not trained on chats. */
export function forGeneration(text: TextTokenizer): GenerationTokenizer {
  return { text, endIds: new Set([endId]), chatTemplate: undefined, specialTokens: {} };
}
