import { Tokenizer } from '@huggingface/tokenizers';
import { DoubleSparseError } from '../errors.js';
import type { TokenizerFiles } from '../formats/checkpoint.js';

/** Characters of text per token that {@link TextTokenizer.encodeFirst} assumes at first; English has about four. */
const charactersPerToken = 5;
/** Tokens before a cut that the cut may have changed; a word or two in practice. */
const unstableTokens = 256;

/** The tokenizer of a checkpoint: its tokenizer.json as it stands, run by @huggingface/tokenizers. */
export class TextTokenizer {
  /** Id of the beginning-of-sequence token, if the model has one. */
  readonly bosId: number | undefined;
  /**
   * Ids that tokenizer.json puts before every text (its post-processor): usually the beginning-of-sequence token or
   * nothing. As in transformers, `add_bos_token` of tokenizer_config.json does not count beside a tokenizer.json.
   */
  readonly prefix: readonly number[];
  readonly #tokenizer: Tokenizer;
  readonly #silent: ReadonlySet<string>;

  /** @throws DoubleSparseError `file-unsupported` for a tokenizer.json that the library cannot run */
  constructor({ tokenizer, config }: TokenizerFiles) {
    try {
      this.#tokenizer = new Tokenizer(tokenizer as object, config);
      this.prefix = prefixOf(this.#tokenizer);
    } catch (cause) {
      throw new DoubleSparseError('file-unsupported', `tokenizer.json cannot be used: ${(cause as Error).message}`, {
        cause,
      });
    }
    const name = tokenText(config.bos_token);
    this.bosId = name === undefined ? undefined : this.#tokenizer.token_to_id(name);
    const special = [...this.#tokenizer.get_added_tokens_decoder().values()].filter((token) => token.special);
    const additional = Array.isArray(config.additional_special_tokens) ? config.additional_special_tokens : [];
    this.#silent = new Set([...special.map((token) => token.content), ...additional.map(String)]);
  }

  /** Id of a token by its text, undefined when there is none. */
  idOf(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token);
  }

  /** Whether an id is part of a text: not a special token, nor one of the unused ids that pad a model's vocabulary. */
  writesText(id: number): boolean {
    const token = this.#tokenizer.id_to_token(id);
    return token !== undefined && !this.#silent.has(token);
  }

  /**
   * Token ids of a text. Special tokens are not added, but recognised where the text spells them.
   * @param bos start with the beginning-of-sequence token (default false).
   * @throws DoubleSparseError `option-out-of-range` when `bos` is asked of a tokenizer without one
   */
  encode(text: string, { bos = false }: { bos?: boolean } = {}): Uint32Array {
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: false });
    return Uint32Array.from(bos ? [this.requireBos(), ...ids] : ids);
  }

  /**
   * The first `count` ids of {@link encode}, or all if there are fewer, without tokenizing the rest of a long text.
   */
  encodeFirst(text: string, count: number): Uint32Array {
    for (let length = (count + unstableTokens) * charactersPerToken; ; length *= 2) {
      const ids = this.encode(length < text.length ? text.slice(0, length) : text);
      if (length >= text.length || ids.length >= count + unstableTokens) return ids.slice(0, count);
    }
  }

  /**
   * The text of token ids.
   * @param skipSpecialTokens leave out end-of-text markers and the like (default false).
   */
  decode(ids: ArrayLike<number>, { skipSpecialTokens = false }: { skipSpecialTokens?: boolean } = {}): string {
    return this.#tokenizer.decode(Array.from(ids), {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: false,
    });
  }

  /** The beginning-of-sequence id. @throws DoubleSparseError `option-out-of-range` when there is none */
  requireBos(): number {
    if (this.bosId !== undefined) return this.bosId;
    throw new DoubleSparseError('option-out-of-range', 'the tokenizer has no beginning-of-sequence token', {
      data: { option: 'bos' },
      hint: 'tokenizer_config.json names it as bos_token; leave --bos away for models without one',
    });
  }
}

/** The text of a token of tokenizer_config.json: a string, or an object with the text in `content`. */
export function tokenText(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

/** What comes before the ids of a text when special tokens are added; what comes behind them would end the text. */
function prefixOf(tokenizer: Tokenizer): number[] {
  const encode = (special: boolean): number[] => tokenizer.encode('a', { add_special_tokens: special }).ids;
  const [first] = encode(false);
  const whole = encode(true);
  return first === undefined ? [] : whole.slice(0, Math.max(0, whole.indexOf(first)));
}
