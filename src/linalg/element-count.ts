/** Entries of an array of this shape; 1 for no dimensions. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
