import type { Fields } from './fields.js';

/** Values of `tokenizer.ggml.token_type` (`llama_token_type`, include/llama.h of llama.cpp). */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Four times the largest vocabulary known. */
const maximumTokens = 1_000_000;

export interface Vocabulary {
  /** By id. */
  readonly tokens: readonly string[];
  /** By id, see {@link tokenTypes}. */
  readonly types: readonly number[] | undefined;
  readonly idOf: ReadonlyMap<string, number>;
}

/** @throws DoubleSparseError `file-malformed` when there is none, a token comes twice, or the types do not fit. */
export function readVocabulary(fields: Fields): Vocabulary {
  const listed = fields.strings('tokenizer.ggml.tokens');
  if (!listed || listed.length === 0) throw fields.malformed('tokenizer.ggml.tokens is missing');
  if (listed.length > maximumTokens)
    throw fields.malformed(`${listed.length} tokens, at most ${maximumTokens} are allowed`);
  const types = fields.numbers('tokenizer.ggml.token_type');
  if (types && types.length !== listed.length)
    throw fields.malformed(`${listed.length} tokens have ${types.length} types`);
  // Such tokens cannot be reached from text; llama.cpp names them in the same way.
  const tokens = listed.map((token, id) => (token === '' ? `[EMPTY_${id}]` : token));
  const idOf = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const other = idOf.get(token);
    if (other !== undefined) throw fields.malformed(`tokens ${other} and ${id} are both ${JSON.stringify(token)}`);
    idOf.set(token, id);
  }
  return { tokens, types, idOf };
}

/** Names that the converter gives to rows of the embedding that no token has: they are no tokens of the model. */
function isPadding({ tokens, types }: Vocabulary, id: number): boolean {
  return types?.[id] === tokenTypes.unused && /^\[PAD\d+\]$/.test(tokens[id] as string);
}

/** Token -> id as in tokenizer.json. A null prototype, because "__proto__" may be a token. */
export function vocabularyObject(vocabulary: Vocabulary): Record<string, number> {
  const result: Record<string, number> = Object.create(null);
  for (const [token, id] of vocabulary.idOf) if (!isPadding(vocabulary, id)) result[token] = id;
  return result;
}
