/**
 * Cuts a text that comes in pieces where the first stop string begins. What might be the beginning of one is held back
 * until more text decides; text that has been given out is never taken back.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #found = false;

  /** @param stops none of them empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether the text has ended with a stop string. Nothing comes after that. */
  get found(): boolean {
    return this.#found;
  }

  /** The text that is certain now. */
  push(piece: string): string {
    if (this.#found) return '';
    const text = this.#held + piece;
    for (let from = 0; from < text.length; from++) {
      // Where one stop string may begin and another is complete behind it, the earlier goes first if it gets complete.
      const state = this.#stateAt(text, from);
      if (state === 'none') continue;
      this.#found = state === 'complete';
      this.#held = this.#found ? '' : text.slice(from);
      return text.slice(0, from);
    }
    this.#held = '';
    return text;
  }

  /** What was held back, when no more text comes. */
  end(): string {
    if (this.#found) return '';
    const text = this.#held;
    this.#held = '';
    const begins = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    this.#found = begins.length > 0;
    return this.#found ? text.slice(0, Math.min(...begins)) : text;
  }

  #stateAt(text: string, from: number): 'none' | 'possible' | 'complete' {
    if (this.#stops.some((stop) => text.startsWith(stop, from))) return 'complete';
    const rest = text.length - from;
    const possible = this.#stops.some((stop) => stop.length > rest && text.endsWith(stop.slice(0, rest)));
    return possible ? 'possible' : 'none';
  }
}
