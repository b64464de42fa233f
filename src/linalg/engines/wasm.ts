import { Arena } from '../arena.js';
import type { Engine } from '../engine.js';
import { instantiateKernels } from '../wasm-kernels.js';
import { scaleBlock, updateBlock } from './update.js';

// The micro-tile of assembly/gemm.ts.
const tileRows = 4;
const tileColumns = 8;

// Cache blocks, in floats. One kernel call multiplies 128 x 256 packed floats of A (128 KiB, stays in the second-level
// cache) with panels of 256 x 8 (8 KiB, first level); a strip of A or B is packed once for all its kernel calls.
const kernelRows = 128;
const stripRows = 1024;
const stripColumns = 512;
const stripInner = 256;

const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/**
 * The engine that needs nothing installed: SIMD micro-kernels in WebAssembly, one thread. Operands may live in any
 * memory, since their panels are packed into scratch (3.5 MiB) of the engine's own.
 */
export function createWasmEngine(): Engine {
  const arena = new Arena();
  const panelsOfA = arena.vector(stripRows * stripInner);
  const panelsOfB = arena.vector(stripColumns * stripInner);
  const tiles = arena.vector(stripRows * stripColumns);
  const { multiplyPanels } = instantiateKernels(arena);

  return {
    name: 'wasm',
    description: 'WebAssembly SIMD kernels, one thread',
    setThreads: () => 1,
    gemm(a, b, c, { transposeA, transposeB, alpha, beta }) {
      const inner = transposeA ? a.rows : a.columns;
      const [aRow, aInner] = transposeA ? [1, a.stride] : [a.stride, 1];
      const [bInner, bColumn] = transposeB ? [1, b.stride] : [b.stride, 1];
      if (inner === 0) return scaleBlock(c, beta);
      for (let j = 0; j < c.columns; j += stripColumns) {
        const columns = Math.min(stripColumns, c.columns - j);
        const paddedColumns = roundUp(columns, tileColumns);
        for (let i = 0; i < c.rows; i += stripRows) {
          const rows = Math.min(stripRows, c.rows - i);
          for (let p = 0; p < inner; p += stripInner) {
            const length = Math.min(stripInner, inner - p);
            const fromA = a.offset + i * aRow + p * aInner;
            const fromB = b.offset + j * bColumn + p * bInner;
            packPanels(panelsOfA, tileRows, a.data, fromA, rows, aRow, length, aInner);
            packPanels(panelsOfB, tileColumns, b.data, fromB, columns, bColumn, length, bInner);
            for (let row = 0; row < rows; row += kernelRows) {
              const rowTiles = Math.ceil(Math.min(kernelRows, rows - row) / tileRows);
              multiplyPanels(
                panelsOfA.byteOffset + row * length * 4,
                panelsOfB.byteOffset,
                tiles.byteOffset + row * paddedColumns * 4,
                length,
                rowTiles,
                paddedColumns / tileColumns,
                paddedColumns,
                p === 0 ? 0 : 1,
              );
            }
          }
          const target = { ...c, offset: c.offset + i * c.stride + j, rows, columns };
          updateBlock(target, tiles, paddedColumns, alpha, beta);
        }
      }
    },
  };
}

/**
 * Packs `count` vectors of `length` numbers into panels of `width` vectors: position p of all vectors of a panel
 * lies together. Entry p of vector v is source[from + v * vectorStep + p * step]. The last panel is filled up with
 * zero vectors: their products are dropped, but leftovers in their place might be denormal and slow.
 */
function packPanels(
  target: Float32Array,
  width: number,
  source: Float32Array,
  from: number,
  count: number,
  vectorStep: number,
  length: number,
  step: number,
): void {
  for (let first = 0; first < count; first += width) {
    const base = first * length;
    const here = Math.min(width, count - first);
    if (here < width) target.fill(0, base, base + width * length);
    // Along the source's rows, so that each cache line is read once while it is there.
    if (step === 1) {
      for (let v = 0; v < here; v++) {
        const start = from + (first + v) * vectorStep;
        for (let p = 0, at = base + v; p < length; p++, at += width) target[at] = source[start + p] as number;
      }
    } else {
      for (let p = 0; p < length; p++) {
        const start = from + p * step + first * vectorStep;
        const at = base + p * width;
        for (let v = 0; v < here; v++) target[at + v] = source[start + v * vectorStep] as number;
      }
    }
  }
}
