/** A seeded source of uniform 32-bit integers (splitmix32: an add and a mix of the state, period 2^32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in 0 .. 2^32 - 1. */
  bits(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() / 2 ** 32;
  }

  /** Uniform among 0 .. limit - 1. */
  below(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }
}

/** `count` different numbers below `limit`, in random order: the first steps of a Fisher-Yates shuffle. */
export function drawDistinct(limit: number, count: number, random: Random): number[] {
  const moved = new Map<number, number>();
  return Array.from({ length: count }, (_, i) => {
    const j = i + random.below(limit - i);
    const drawn = moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
    return drawn;
  });
}
