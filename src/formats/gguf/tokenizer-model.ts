/** The parts of tokenizer.json in which the kinds of tokenizers differ. */
export interface TokenizerModel {
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly decoder: unknown;
  readonly model: unknown;
  /** Whether a sequence begins with the BOS token where the file does not say. */
  readonly addBos: boolean;
}
