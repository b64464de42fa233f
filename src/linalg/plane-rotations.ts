/** Most rotations collected before they are applied: 2 x 4 MiB. */
const maximumCapacity = 1 << 19;

/**
 * Plane rotations of adjacent columns of an n x n row-major basis, collected so that a row of it is read once for
 * hundreds of thousands of them.
 */
export class PlaneRotations {
  readonly #cosines: Float64Array;
  readonly #sines: Float64Array;
  /** For each run: its highest column, and how many rotations follow, each with the next lower one. */
  #runs: number[] = [];
  #count = 0;
  readonly #basis: Float64Array;
  readonly #n: number;

  constructor(basis: Float64Array, n: number) {
    this.#basis = basis;
    this.#n = n;
    // Two sweeps of n rotations for an eigenvalue are usual.
    const capacity = Math.max(n, Math.min(maximumCapacity, 2 * n * n));
    this.#cosines = new Float64Array(capacity);
    this.#sines = new Float64Array(capacity);
  }

  /** Begins a run of at most `length` < n rotations, the first of columns top - 1 and top. */
  start(top: number, length: number): void {
    if (this.#count + length > this.#cosines.length) this.flush();
    this.#runs.push(top, 0);
  }

  /** Rotates the next pair: (lower, upper) becomes (c lower - s upper, s lower + c upper). */
  push(cosine: number, sine: number): void {
    this.#cosines[this.#count] = cosine;
    this.#sines[this.#count++] = sine;
    this.#runs[this.#runs.length - 1]++;
  }

  /** Applies what was collected; four rows at a time, since each is a chain of dependent operations. */
  flush(): void {
    const basis = this.#basis;
    const n = this.#n;
    const runs = Int32Array.from(this.#runs);
    for (let row = 0; row < n; row += 4) {
      if (row + 4 <= n) this.#applyToFourRows(basis, row * n, n, runs);
      else for (let rest = row; rest < n; rest++) this.#applyToRow(basis, rest * n, runs);
    }
    this.#runs = [];
    this.#count = 0;
  }

  #applyToFourRows(basis: Float64Array, row: number, n: number, runs: Int32Array): void {
    const cosines = this.#cosines;
    const sines = this.#sines;
    const row1 = row + n;
    const row2 = row1 + n;
    const row3 = row2 + n;
    for (let run = 0, at = 0; run < runs.length; run += 2) {
      let j = runs[run];
      const end = at + runs[run + 1];
      let f0 = basis[row + j];
      let f1 = basis[row1 + j];
      let f2 = basis[row2 + j];
      let f3 = basis[row3 + j];
      for (; at < end; at++) {
        const c = cosines[at];
        const s = sines[at];
        j--;
        const g0 = basis[row + j];
        const g1 = basis[row1 + j];
        const g2 = basis[row2 + j];
        const g3 = basis[row3 + j];
        basis[row + j + 1] = s * g0 + c * f0;
        basis[row1 + j + 1] = s * g1 + c * f1;
        basis[row2 + j + 1] = s * g2 + c * f2;
        basis[row3 + j + 1] = s * g3 + c * f3;
        f0 = c * g0 - s * f0;
        f1 = c * g1 - s * f1;
        f2 = c * g2 - s * f2;
        f3 = c * g3 - s * f3;
      }
      basis[row + j] = f0;
      basis[row1 + j] = f1;
      basis[row2 + j] = f2;
      basis[row3 + j] = f3;
    }
  }

  #applyToRow(basis: Float64Array, row: number, runs: Int32Array): void {
    for (let run = 0, at = 0; run < runs.length; run += 2) {
      let j = runs[run];
      const end = at + runs[run + 1];
      let f = basis[row + j];
      for (; at < end; at++) {
        const c = this.#cosines[at];
        const s = this.#sines[at];
        j--;
        const g = basis[row + j];
        basis[row + j + 1] = s * g + c * f;
        f = c * g - s * f;
      }
      basis[row + j] = f;
    }
  }
}
