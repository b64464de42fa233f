/** Token ids spread over the vocabulary: which they are changes no time. */
export function trialIds(count: number, vocabularySize: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabularySize);
}
