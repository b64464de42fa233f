import { DoubleSparseError } from '../errors.js';
import type { Matrix } from './matrix.js';

const pageBytes = 65_536;
/** WebAssembly's 32-bit addresses end here; what does not fit goes to an array of its own (see {@link Arena.vector}). */
const maximumPages = 65_536;
/** One cache line, also enough for every SIMD load. */
const alignment = 64;

/**
 * Stack-wise memory for matrices: one shared WebAssembly memory, so that the SIMD kernels, a native BLAS and other
 * threads all see the same bytes without a copy. Memory is taken inside {@link scope} and given back at its end;
 * the high-water mark stays allocated until the arena itself is dropped.
 */
export class Arena {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: maximumPages, shared: true });
  readonly #buffers = new WeakSet<ArrayBufferLike>([this.memory.buffer]);
  // The first page holds the static data of the kernels.
  #top = pageBytes;
  #outside = 0;
  #peak = 0;

  /** Runs `work`; whatever it took from the arena is free again when it returns or throws. */
  scope<T>(work: () => T): T {
    const mark = this.#top;
    const outside = this.#outside;
    try {
      return work();
    } finally {
      this.#top = mark;
      this.#outside = outside;
    }
  }

  /** A matrix of zeros that lives until the enclosing {@link scope} ends. */
  matrix(rows: number, columns: number): Matrix {
    return { rows, columns, data: this.vector(rows * columns) };
  }

  /**
   * Zeros that live until the enclosing {@link scope} ends.
   * @throws DoubleSparseError `out-of-memory` when neither the arena nor the system has room.
   */
  vector(length: number): Float32Array {
    const bytes = length * 4;
    const end = this.#top + Math.ceil(bytes / alignment) * alignment;
    if (end > maximumPages * pageBytes || !this.#grow(end)) return this.#vectorOutside(length);
    const result = new Float32Array(this.memory.buffer, this.#top, length).fill(0);
    this.#top = end;
    this.#peak = Math.max(this.#peak, this.#top + this.#outside);
    return result;
  }

  /** As {@link vector}, in float64. */
  doubles(length: number): Float64Array {
    const { buffer, byteOffset } = this.vector(2 * length);
    return new Float64Array(buffer, byteOffset, length);
  }

  /** Is this array a view of the arena's memory? Growing makes a new buffer object for the same bytes. */
  owns(array: Float32Array | Float64Array | Uint32Array): boolean {
    return this.#buffers.has(array.buffer);
  }

  /** The matrix itself if it lives here, else a copy that does. */
  adopt(source: Matrix): Matrix {
    if (this.owns(source.data)) return source;
    const copy = this.matrix(source.rows, source.columns);
    copy.data.set(source.data);
    return copy;
  }

  /** Most bytes ever in use at one time. */
  get peakBytes(): number {
    return this.#peak;
  }

  #grow(end: number): boolean {
    const have = this.memory.buffer.byteLength;
    if (end <= have) return true;
    try {
      this.memory.grow(Math.ceil((end - have) / pageBytes));
    } catch {
      return false;
    }
    this.#buffers.add(this.memory.buffer);
    return true;
  }

  #vectorOutside(length: number): Float32Array {
    try {
      const result = new Float32Array(new SharedArrayBuffer(length * 4));
      this.#outside += length * 4;
      this.#peak = Math.max(this.#peak, this.#top + this.#outside);
      return result;
    } catch (cause) {
      throw new DoubleSparseError('out-of-memory', `no room for an array of ${length} numbers (${length * 4} bytes)`, {
        data: { bytes: length * 4 },
        hint: 'use fewer workers (--threads), or a machine with more memory',
        cause,
      });
    }
  }
}
