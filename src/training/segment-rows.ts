import type { Segment } from './parameter.js';
import { sharedPositions } from './support.js';

/** Some rows of a segment with a support: the part of stacked weights that belongs to one of them. */
export function segmentRows(
  { columns, offset, positions = new Uint32Array(), rate }: Segment,
  first: number,
  rows: number,
): Segment {
  const from = positions.findIndex((position) => position >= first * columns);
  const begin = from < 0 ? positions.length : from;
  const behind = positions.findIndex((position) => position >= (first + rows) * columns);
  const own = positions.subarray(begin, behind < 0 ? positions.length : behind);
  const moved = sharedPositions(own.map((position) => position - first * columns));
  return { rows, columns, offset: offset + begin, count: own.length, positions: moved, ...(rate && { rate }) };
}
