import { packFactor } from '../../formats/container/packed-factor.js';
import type { WritableFloatType } from '../../formats/dtype.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import { Random } from '../../linalg/random.js';
import { instantiateRuntimeKernels } from '../../runtime/kernels.js';
import { placeBitmask, placeIndexed } from '../../runtime/place-factor.js';
import type { Representation } from '../../runtime/representation.js';
import { RuntimeMemory } from '../../runtime/runtime-memory.js';
import type { StoredMatrix } from '../../runtime/stored-matrix.js';
import { multiplyVector } from '../../runtime/stored-product.js';
import { placeEncoded } from '../../runtime/weight-source.js';
import { type ProductKernel, productKernels } from './product-kernels.js';
import { spreadOf } from './spread.js';

/** With fp32 values 128 KiB, which the second level of any core's cache holds. */
const rows = 32;
const columns = 1024;
const density = 0.25;
const rounds = 7;
/** Of one round of one kernel. */
const milliseconds = 3;

/**
 * Nanoseconds in which each kernel computes eight positions (values, where indexed) of a matrix that stays in this
 * core's cache: what its instructions take, without the memory. Medians; about a fifth of a second.
 */
export function timeKernels(module: WebAssembly.Module): Record<ProductKernel, number> {
  const memory = new RuntimeMemory();
  const sparse = randomMatrix();
  const x = memory.allocate(4 * columns);
  memory.floats(x, columns).fill(1);
  const y = memory.allocate(4 * rows);
  const kernels = instantiateRuntimeKernels(module, memory.memory);
  const values = sparse.data.reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0);
  const timed = (kernel: ProductKernel): number => {
    const matrix = placeTrial(memory, sparse, kernel);
    const eights = (matrix.kind === 'indexed' ? values : rows * columns) / 8;
    const times = Array.from({ length: rounds }, () => {
      const start = performance.now();
      let [products, elapsed] = [0, 0];
      while (elapsed < milliseconds) {
        for (let i = 0; i < 16; i++) multiplyVector(kernels, matrix, y, x, 0, rows, 0, false);
        products += 16;
        elapsed = performance.now() - start;
      }
      return (1e6 * elapsed) / (products * eights);
    });
    return spreadOf(times).median;
  };
  return Object.fromEntries(productKernels.map((kernel) => [kernel, timed(kernel)])) as Record<ProductKernel, number>;
}

function placeTrial(memory: RuntimeMemory, matrix: Matrix, kernel: ProductKernel): StoredMatrix {
  const [representation, type] = kernel.split(' ') as [Representation, WritableFloatType];
  if (representation === 'dense') return placeEncoded(memory, matrix, type, kernel);
  const factor = packFactor(matrix, type);
  return representation === 'stored' ? placeBitmask(memory, factor) : placeIndexed(memory, factor);
}

function randomMatrix(): Matrix {
  const random = new Random(1);
  const result = zeros(rows, columns);
  for (let i = 0; i < result.data.length; i++) if (random.uniform() < density) result.data[i] = random.uniform() + 0.5;
  return result;
}
