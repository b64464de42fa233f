import { DoubleSparseError } from '../../errors.js';
import { AtomicFile } from '../atomic-file.js';
import { bytesPerFloat, type EncodingLoss, encodeFloats, type WritableFloatType } from '../dtype.js';
import { type Layout, layOut, type PlannedTensor } from './layout.js';

/** Values encoded at a time: bounds the scratch memory of a conversion. */
const chunkValues = 1 << 20;

/**
 * Writes one safetensors file from a plan: the header first, then tensors in any order, each front to back in as many
 * parts as convenient. The file has its name after {@link commit}, or never. Errors of {@link AtomicFile}, and
 * `shape-mismatch` for bytes that the plan has no place for.
 */
export class SafetensorsWriter {
  readonly #file: AtomicFile;
  readonly #plan: ReadonlyMap<string, PlannedTensor>;
  readonly #layout: Layout;
  readonly #written = new Map<string, number>();
  #left: number;

  /** @param metadata strings for `__metadata__`. */
  constructor(path: string, tensors: readonly PlannedTensor[], metadata: Readonly<Record<string, string>> = {}) {
    this.#layout = layOut(tensors, metadata);
    this.#plan = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.#left = this.#layout.fileBytes - this.#layout.header.byteLength;
    this.#file = new AtomicFile(path);
    this.#file.write(this.#layout.header, 0);
  }

  /** Bytes of the whole file. */
  get fileBytes(): number {
    return this.#layout.fileBytes;
  }

  /** Whether every planned byte was written. */
  get complete(): boolean {
    return this.#left === 0;
  }

  /** Appends bytes to a tensor. */
  writeBytes(name: string, bytes: Uint8Array): void {
    const { begin, end } = this.#placement(name);
    const done = this.#written.get(name) ?? 0;
    if (begin + done + bytes.byteLength > end) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `${name} has ${end - begin} bytes, got ${done + bytes.byteLength}`,
        {
          data: { name, planned: end - begin, got: done + bytes.byteLength },
        },
      );
    }
    // An empty tensor may come when the file is whole and closed.
    if (bytes.byteLength === 0) return;
    this.#file.write(bytes, begin + done);
    this.#written.set(name, done + bytes.byteLength);
    this.#left -= bytes.byteLength;
  }

  /**
   * Appends values to a tensor, in its planned type.
   * @throws DoubleSparseError `non-finite-value` when finite values do not fit the type; nothing of them is written.
   */
  writeFloats(name: string, values: Float32Array): EncodingLoss {
    this.#placement(name);
    const { dtype } = this.#plan.get(name) as PlannedTensor;
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
      throw new DoubleSparseError('shape-mismatch', `${name} is planned as ${dtype}, not as floats`, {
        data: { name, dtype },
      });
    }
    let vanished = 0;
    const buffer = new Uint8Array(Math.min(chunkValues, values.length) * bytesPerFloat(dtype));
    for (let from = 0; from < values.length; from += chunkValues) {
      const part = values.subarray(from, from + chunkValues);
      const bytes = buffer.subarray(0, part.length * bytesPerFloat(dtype));
      const loss = encodeFloats(dtype, part, bytes);
      if (loss.overflowed > 0) throw overflow(name, dtype, part);
      vanished += loss.vanished;
      this.writeBytes(name, bytes);
    }
    return { overflowed: 0, vanished };
  }

  /** Puts the bytes on the disk and closes the file; {@link commit} then only renames. */
  flush(): void {
    if (!this.complete) {
      const missing = [...this.#layout.placements]
        .filter(([name, { begin, end }]) => end - begin !== (this.#written.get(name) ?? 0))
        .map(([name]) => name);
      throw new DoubleSparseError(
        'shape-mismatch',
        `${missing.length} tensors are not complete: ${missing.slice(0, 4)}`,
        {
          data: { missing: missing.slice(0, 20) },
        },
      );
    }
    this.#file.flush();
  }

  commit(): void {
    this.flush();
    this.#file.commit();
  }

  abort(): void {
    this.#file.abort();
  }

  #placement(name: string): { begin: number; end: number } {
    const placement = this.#layout.placements.get(name);
    if (placement) return placement;
    throw new DoubleSparseError('unknown-name', `${name} is not in the plan of the file`, { data: { name } });
  }
}

/** The error for values that are finite and become infinite. */
export function overflow(name: string, dtype: WritableFloatType, values: Float32Array): DoubleSparseError {
  const largest = values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);
  return new DoubleSparseError('non-finite-value', `${name} holds ${largest}, which is infinite in ${dtype}`, {
    data: { name, dtype, largest },
    hint: 'store it as BF16 or F32',
  });
}
