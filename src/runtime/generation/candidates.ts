/** Tokens that may come next, by ascending id. */
export interface Candidates {
  readonly ids: Uint32Array;
  /** Natural logarithms of their probabilities up to a constant: the likeliest has 0, all others less. */
  readonly logits: Float64Array;
}

/** The candidates at some places of the list, given in ascending order. */
export function pick({ ids, logits }: Candidates, places: ArrayLike<number>): Candidates {
  const count = places.length;
  const picked = { ids: new Uint32Array(count), logits: new Float64Array(count) };
  for (let i = 0; i < count; i++) {
    const place = places[i] as number;
    picked.ids[i] = ids[place] as number;
    picked.logits[i] = logits[place] as number;
  }
  return picked;
}

/** Places by descending logit, equal ones by ascending id. */
export function sortByLogit({ logits }: Candidates, places: number[]): number[] {
  return places.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
}

/** exp of the logits: probabilities up to a factor, the likeliest has 1; and their sum. */
export function weigh({ logits }: Candidates): { readonly weights: Float64Array; readonly total: number } {
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = Math.exp(logits[i] as number);
    weights[i] = weight;
    total += weight;
  }
  return { weights, total };
}
