import type { TextTokenizer } from '../../calibration/tokenizer.js';

/**
 * Tokens whose text is decoded again with each new one. A tokenizer may write a token differently at the beginning of a
 * text, and a character may take four tokens of a byte each; behind four tokens both are settled.
 */
const context = 8;

/** What decoders write for bytes that are no character, or not yet. */
const replacement = '\ufffd';

/**
 * Turns tokens into text one by one. A character that is not complete is held back; all pieces together are what
 * `decode` makes of all ids behind the prompt, special tokens left out.
 */
export class StreamingDetokenizer {
  readonly #tokenizer: TextTokenizer;
  /** The last tokens that write text. */
  #window: number[];
  /** Characters of the window's text that have been given out. */
  #given: number;

  /** @param prompt ids before the first that is pushed; their text is not given out. */
  constructor(tokenizer: TextTokenizer, prompt: ArrayLike<number> = []) {
    this.#tokenizer = tokenizer;
    const tail = Array.prototype.slice.call(prompt, -context) as number[];
    this.#window = tail.filter((id) => tokenizer.writesText(id));
    this.#given = this.#decode().length;
  }

  /** The text that has become certain with a token; often none for a part of a character. */
  push(id: number): string {
    if (!this.#tokenizer.writesText(id)) return '';
    this.#window.push(id);
    const text = this.#decode();
    // Only the last character can be incomplete: at most three bytes, which decode to one replacement.
    const certain = text.endsWith(replacement) ? text.length - 1 : text.length;
    const piece = text.slice(this.#given, certain);
    this.#given = Math.max(this.#given, certain);
    if (this.#window.length >= 2 * context) this.#shorten(text.length - this.#given);
    return piece;
  }

  /** What is left at the end: the replacement character for an incomplete one, or nothing. */
  end(): string {
    const piece = this.#decode().slice(this.#given);
    this.#given += piece.length;
    return piece;
  }

  #shorten(held: number): void {
    this.#window = this.#window.slice(-context);
    this.#given = this.#decode().length - held;
  }

  #decode(): string {
    return this.#window.length === 0 ? '' : this.#tokenizer.decode(this.#window);
  }
}
