/**
 * How text is split before merging, for byte-level BPE. GGUF names the kind (`tokenizer.ggml.pre`); the patterns are
 * those of the models' own tokenizer.json, the kinds with the same pattern those of llama.cpp (src/llama-vocab.cpp).
 */
export interface PreTokenizer {
  /** The `pre_tokenizer` of tokenizer.json. */
  readonly preTokenizer: Readonly<Record<string, unknown>>;
  readonly normalizer?: Readonly<Record<string, unknown>>;
  /** A piece that is a token as a whole is not merged up to: its merges may not lead there. */
  readonly ignoreMerges: boolean;
  /** Whether a sequence begins with the BOS token where the file does not say. */
  readonly addBos: boolean;
}

const gpt2Pattern = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;
const tail = String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const contractions = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|`;
const llama3Pattern = String.raw`${contractions}\p{N}{1,3}${tail}`;
const qwen2Pattern = String.raw`${contractions}\p{N}${tail}`;
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const tekkenPattern =
  String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+|[^\r\n\p{L}\p{N}]?${upper}+${lower}*|\p{N}` +
  String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const split = (pattern: string) => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});
const splits = (...patterns: string[]) => ({
  type: 'Sequence',
  pretokenizers: [...patterns.map(split), byteLevel(false)],
});

const gpt2: PreTokenizer = { preTokenizer: byteLevel(true), ignoreMerges: false, addBos: false };
const digits: PreTokenizer = {
  preTokenizer: {
    type: 'Sequence',
    pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)],
  },
  ignoreMerges: false,
  addBos: false,
};
const llama3: PreTokenizer = { preTokenizer: splits(llama3Pattern), ignoreMerges: true, addBos: true };
const tekken: PreTokenizer = { preTokenizer: splits(tekkenPattern), ignoreMerges: true, addBos: true };
const qwen2: PreTokenizer = {
  preTokenizer: splits(qwen2Pattern),
  normalizer: { type: 'NFC' },
  ignoreMerges: false,
  addBos: false,
};
const deepseekQwen: PreTokenizer = { preTokenizer: splits(qwen2Pattern), ignoreMerges: false, addBos: false };
/** What llama.cpp does for files that name no kind, or this one. */
const fallback: PreTokenizer = {
  preTokenizer: splits(String.raw`[\p{P}\$\+<=>\^~\|]+`, gpt2Pattern, String.raw`\p{N}+`, '[0-9][0-9][0-9]'),
  ignoreMerges: false,
  addBos: false,
};

const kinds: readonly (readonly [PreTokenizer, readonly string[]])[] = [
  [gpt2, ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'gigachat', 'exaone4', 'trillion', 'granite-docling']],
  [digits, ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b']],
  [llama3, ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2']],
  [qwen2, ['qwen2', 'stablelm2', 'hunyuan', 'megrez']],
  [deepseekQwen, ['deepseek-r1-qwen']],
  [tekken, ['tekken']],
  [fallback, ['default']],
];

export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map(
  kinds.flatMap(([preTokenizer, names]) => names.map((name) => [name, preTokenizer] as const)),
);
