import type { Block, Engine, GemmOptions } from '../engine.js';

/** Plain loops with float64 sums: the oracle of every other engine. */
export const referenceEngine: Engine = {
  name: 'reference',
  description: 'plain TypeScript loops',
  setThreads: () => 1,
  gemm(a: Block, b: Block, c: Block, { transposeA, transposeB, alpha, beta }: Required<GemmOptions>): void {
    const inner = transposeA ? a.rows : a.columns;
    const [aRow, aInner] = transposeA ? [1, a.stride] : [a.stride, 1];
    const [bInner, bColumn] = transposeB ? [1, b.stride] : [b.stride, 1];
    for (let i = 0; i < c.rows; i++) {
      for (let j = 0; j < c.columns; j++) {
        let sum = 0;
        for (let p = 0; p < inner; p++) {
          sum +=
            (a.data[a.offset + i * aRow + p * aInner] as number) *
            (b.data[b.offset + p * bInner + j * bColumn] as number);
        }
        const index = c.offset + i * c.stride + j;
        c.data[index] = alpha * sum + (beta === 0 ? 0 : beta * (c.data[index] as number));
      }
    }
  },
};
