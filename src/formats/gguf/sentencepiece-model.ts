import type { Fields } from './fields.js';
import type { TokenizerModel } from './tokenizer-model.js';
import { tokenTypes, type Vocabulary, vocabularyObject } from './vocabulary.js';

/** A token longer than this is no word and has too many ways to be split. */
const longestMerged = 512;

/**
 * `tokenizer.ggml.model` llama: SentencePiece BPE with byte fallback, as BPE of Hugging Face tokenizers. SentencePiece
 * merges the neighbours whose union has the best score; the same pairs in order of that score are the merges.
 * @throws DoubleSparseError `file-malformed`
 */
export function sentencePieceModel(fields: Fields, vocabulary: Vocabulary): TokenizerModel {
  const scores = fields.numbers('tokenizer.ggml.scores');
  if (!scores) throw fields.malformed('tokenizer.ggml.scores is missing');
  if (scores.length !== vocabulary.tokens.length)
    throw fields.malformed(`${vocabulary.tokens.length} tokens have ${scores.length} scores`);
  const prefix = fields.boolean('tokenizer.ggml.add_space_prefix') ?? true;
  const unknown = fields.number('tokenizer.ggml.unknown_token_id') ?? vocabulary.idOf.get('<unk>');
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] } : replace,
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    addBos: true,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: (unknown === undefined ? undefined : vocabulary.tokens[unknown]) ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabularyObject(vocabulary),
      merges: mergesByScore(vocabulary, scores),
    },
  };
}

/** Every way to put a token together from two others, best score first, then the longer left part. */
function mergesByScore({ tokens, types, idOf }: Vocabulary, scores: readonly number[]): [string, string][] {
  const mergeable = (id: number | undefined): boolean => {
    if (id === undefined) return false;
    const type = types?.[id] ?? tokenTypes.normal;
    return type === tokenTypes.normal || type === tokenTypes.unused;
  };
  const merges: { left: string; right: string; score: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    if (!mergeable(id) || token.length > longestMerged) continue;
    const score = scores[id] as number;
    for (let at = 1; at < token.length; at++) {
      // Not between the halves of a surrogate pair: the parts would not be characters.
      if ((token.charCodeAt(at) & 0xfc00) === 0xdc00) continue;
      const [left, right] = [token.slice(0, at), token.slice(at)];
      if (mergeable(idOf.get(left)) && mergeable(idOf.get(right))) merges.push({ left, right, score });
    }
  }
  merges.sort((a, b) => b.score - a.score || b.left.length - a.left.length);
  return merges.map(({ left, right }) => [left, right]);
}
