/** Where the first of the largest values is; -1 of no values, and where one is NaN. */
export function indexOfLargest(values: Float32Array): number {
  return values.indexOf(values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY));
}
