import { newShared, type SharedAllocation } from '../linalg/shared-matrix.js';

/** Values of many tensors, one behind the other. */
export class FlatValues {
  readonly #chunks: Float32Array[] = [];
  #length = 0;

  /** @returns where they begin. */
  append(values: Float32Array): number {
    const offset = this.#length;
    this.#chunks.push(values);
    this.#length += values.length;
    return offset;
  }

  /** All of them, in shared memory. */
  shared(allocate: SharedAllocation = newShared): Float32Array {
    const all = allocate('values', this.#length);
    let offset = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, offset);
      offset += chunk.length;
    }
    return all;
  }
}
