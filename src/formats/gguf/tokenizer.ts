import { DoubleSparseError } from '../../errors.js';
import type { TokenizerFiles } from '../checkpoint.js';
import { byteLevelModel } from './byte-level-model.js';
import type { Fields } from './fields.js';
import { sentencePieceModel } from './sentencepiece-model.js';
import { readVocabulary, tokenTypes, type Vocabulary } from './vocabulary.js';

/**
 * tokenizer.json and tokenizer_config.json from the metadata of a GGUF file, for `tokenizer.ggml.model` gpt2
 * (byte-level BPE) and llama (SentencePiece BPE).
 * @throws DoubleSparseError `file-unreadable` when there is no tokenizer, `file-malformed`, `file-unsupported` for
 *   another kind of tokenizer or an unknown way of splitting text.
 */
export function tokenizerFromMetadata(fields: Fields): TokenizerFiles {
  const kind = fields.string('tokenizer.ggml.model');
  if (kind === undefined) {
    throw new DoubleSparseError('file-unreadable', `${fields.path} has no tokenizer`, {
      data: { path: fields.path },
      hint: 'it holds weights only; use a model file with tokenizer.ggml.* metadata',
    });
  }
  if (kind !== 'gpt2' && kind !== 'llama') {
    throw fields.unsupported(`tokenizers of kind ${JSON.stringify(kind)} are not supported`, 'kinds: gpt2, llama');
  }
  const vocabulary = readVocabulary(fields);
  const { addBos, ...parts } =
    kind === 'gpt2' ? byteLevelModel(fields, vocabulary) : sentencePieceModel(fields, vocabulary);
  const begins = fields.boolean('tokenizer.ggml.add_bos_token') ?? addBos;
  const ends = fields.boolean('tokenizer.ggml.add_eos_token') ?? false;
  const special = (name: string): number | undefined => specialToken(fields, name, vocabulary);
  const [bos, eos] = [special('bos'), special('eos')];
  const named = { bos_token: bos, eos_token: eos, unk_token: special('unknown'), pad_token: special('padding') };
  const template = fields.string('tokenizer.chat_template');
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      normalizer: parts.normalizer,
      pre_tokenizer: parts.pre_tokenizer,
      post_processor: postProcessor(vocabulary, begins ? bos : undefined, ends ? eos : undefined),
      decoder: parts.decoder,
      model: parts.model,
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...Object.fromEntries(
        Object.entries(named).flatMap(([name, id]) => (id === undefined ? [] : [[name, vocabulary.tokens[id]]])),
      ),
      add_bos_token: begins && bos !== undefined,
      add_eos_token: ends && eos !== undefined,
      clean_up_tokenization_spaces: false,
      ...(template === undefined ? {} : { chat_template: template }),
    },
  };
}

function specialToken(fields: Fields, name: string, { tokens }: Vocabulary): number | undefined {
  const id = fields.number(`tokenizer.ggml.${name}_token_id`);
  if (id === undefined) return undefined;
  // Some converters write 2^32 - 1 for "none"; llama.cpp ignores what is out of range.
  return Number.isInteger(id) && id >= 0 && id < tokens.length ? id : undefined;
}

/** Tokens that are found in the text before it is split. */
function addedTokens({ tokens, types }: Vocabulary): unknown[] {
  const special = (type: number | undefined) => type === tokenTypes.control || type === tokenTypes.unknown;
  return tokens.flatMap((content, id) => {
    const type = types?.[id];
    if (!special(type) && type !== tokenTypes.userDefined) return [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: special(type) };
    return [{ id, content, ...flags }];
  });
}

function postProcessor({ tokens }: Vocabulary, bos: number | undefined, eos: number | undefined): unknown {
  const token = (id: number | undefined, type: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: type } }];
  const sequence = (id: string, type: number) => [
    ...token(bos, type),
    { Sequence: { id, type_id: type } },
    ...token(eos, type),
  ];
  const used = [bos, eos].flatMap((id) =>
    id === undefined ? [] : [[tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }] as const],
  );
  return {
    type: 'TemplateProcessing',
    single: sequence('A', 0),
    pair: [...sequence('A', 0), ...sequence('B', 1)],
    special_tokens: Object.fromEntries(used),
  };
}
