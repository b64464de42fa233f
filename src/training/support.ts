import { countNonzeros } from '../linalg/matrix.js';

/** Row-major positions of the entries that are not zero, ascending, in shared memory. */
export function nonzeroPositions(data: Float32Array): Uint32Array {
  const positions = new Uint32Array(new SharedArrayBuffer(4 * countNonzeros({ rows: 1, columns: data.length, data })));
  for (let i = 0, next = 0; i < data.length; i++) if (data[i] !== 0) positions[next++] = i;
  return positions;
}

/** A copy in shared memory. */
export function sharedPositions(positions: ArrayLike<number>): Uint32Array {
  const shared = new Uint32Array(new SharedArrayBuffer(4 * positions.length));
  shared.set(positions);
  return shared;
}
