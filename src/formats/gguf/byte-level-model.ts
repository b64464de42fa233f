import type { Fields } from './fields.js';
import { preTokenizers } from './pre-tokenizers.js';
import type { TokenizerModel } from './tokenizer-model.js';
import { type Vocabulary, vocabularyObject } from './vocabulary.js';

/**
 * `tokenizer.ggml.model` gpt2: byte-level BPE with the merges of the file.
 * @throws DoubleSparseError `file-malformed`, `file-unsupported` for an unknown `tokenizer.ggml.pre`.
 */
export function byteLevelModel(fields: Fields, vocabulary: Vocabulary): TokenizerModel {
  const merges = fields.strings('tokenizer.ggml.merges');
  if (!merges) throw fields.malformed('tokenizer.ggml.merges is missing');
  const name = fields.string('tokenizer.ggml.pre') ?? assumedKind(fields, vocabulary);
  const kind = preTokenizers.get(name);
  if (!kind) {
    throw fields.unsupported(
      `the text splitting ${JSON.stringify(name)} (tokenizer.ggml.pre) is not supported`,
      `supported: ${[...preTokenizers.keys()].join(', ')}; wrong tokens would ruin calibration and perplexity`,
    );
  }
  return {
    normalizer: kind.normalizer ?? null,
    pre_tokenizer: kind.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    addBos: kind.addBos,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: kind.ignoreMerges,
      vocab: vocabularyObject(vocabulary),
      merges: merges.map((merge) => {
        const space = merge.indexOf(' ', 1);
        if (space < 0 || space === merge.length - 1)
          throw fields.malformed(`the merge ${JSON.stringify(merge)} is no pair`);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

/** Files of before April 2024 do not name the kind. */
function assumedKind(fields: Fields, { idOf }: Vocabulary): string {
  if (idOf.has('<|begin_of_text|>')) return 'llama-bpe';
  return fields.string('general.architecture')?.startsWith('qwen') ? 'qwen2' : 'gpt-2';
}
