import { DoubleSparseError } from '../errors.js';
import { laneOrderAddress, laneOrderBytes, writeLaneOrders } from './lane-orders.js';

const pageBytes = 65_536;
/** WebAssembly's 32-bit addresses end here. */
export const maximumMemoryBytes = 65_536 * pageBytes;
/** One cache line. */
const alignment = 64;
/** Kernels load 16 bytes from the first byte of a value on, whatever is left of the values. */
const overread = 16;

/** One shared WebAssembly memory with the weights, the cache and the scratch of a runtime. */
export class RuntimeMemory {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: maximumMemoryBytes / pageBytes, shared: true });
  // The first page holds the static data of the kernels and their table.
  #top = pageBytes;

  constructor() {
    writeLaneOrders(this.bytes(laneOrderAddress, laneOrderBytes));
  }

  /** Bytes in use. */
  get size(): number {
    return this.#top;
  }

  /**
   * Address of zeroed bytes.
   * @throws DoubleSparseError `out-of-memory`
   */
  allocate(bytes: number): number {
    const address = this.#top;
    const end = Math.ceil((address + bytes + overread) / alignment) * alignment;
    const missing = end - this.memory.buffer.byteLength;
    try {
      if (missing > 0) this.memory.grow(Math.ceil(missing / pageBytes));
    } catch (cause) {
      throw new DoubleSparseError('out-of-memory', `no memory for ${bytes} more bytes beside ${address} of the model`, {
        data: { bytes, used: address, limit: maximumMemoryBytes },
        hint: 'use a smaller model, or a smaller capacity (positions of the cache)',
        cause,
      });
    }
    this.#top = end;
    return address;
  }

  /** Gives back, as zeros, what is allocated inside. */
  scope<T>(inside: () => T): T {
    const before = this.#top;
    try {
      return inside();
    } finally {
      this.bytes(before, Math.min(this.#top, this.memory.buffer.byteLength) - before).fill(0);
      this.#top = before;
    }
  }

  /** A view; growing makes a new buffer object for the same bytes, so take it when it is needed. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, address, length);
  }

  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, length);
  }

  words(address: number, length: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, address, length);
  }
}
