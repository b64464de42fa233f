import { packFactor } from '../formats/container/packed-factor.js';
import type { WritableFloatType } from '../formats/dtype.js';
import { type Matrix, zeros } from '../linalg/matrix.js';
import { Random } from '../linalg/random.js';
import { compileKernels, instantiateRuntimeKernels, type KernelBuild } from './kernels.js';
import { placeBitmask, placeIndexed } from './place-factor.js';
import type { RepresentationCosts } from './representation.js';
import { RuntimeMemory } from './runtime-memory.js';
import type { StoredMatrix } from './stored-matrix.js';
import { multiplyVector } from './stored-product.js';
import { placeEncoded } from './weight-source.js';

const rows = 128;
const columns = 1024;
/** Bytes of each kind of matrix that are read in a round, at most: more than a core's own caches hold. */
const mostBytes = 8e6;
const rounds = 8;
/** Densities between which costs of a bitmask are taken to be linear. */
const sparse = 0.1;
const dense = 0.4;

interface CostOptions {
  readonly type?: WritableFloatType;
  readonly modelBytes?: number;
}

/**
 * Times the kernels of each representation in a build on this machine, with one thread: about a tenth of a second.
 * @param type of the values.
 * @param modelBytes of the model's products: a small one stays in the caches, and so do the matrices that are timed.
 * @param memory has its bytes back afterwards.
 */
export function measureCosts(
  build: KernelBuild,
  { type = 'BF16', modelBytes = Number.POSITIVE_INFINITY }: CostOptions = {},
  memory = new RuntimeMemory(),
): RepresentationCosts {
  return memory.scope(() => timedCosts(memory, build, type, Math.min(mostBytes, modelBytes / 4)));
}

function timedCosts(
  memory: RuntimeMemory,
  build: KernelBuild,
  type: WritableFloatType,
  bytesPerRound: number,
): RepresentationCosts {
  const factorOf = (density: number) => packFactor(randomMatrix(density), type);
  const [thin, thick] = [factorOf(sparse), factorOf(dense)];
  const copies = (place: () => StoredMatrix): StoredMatrix[] => {
    const before = memory.size;
    const first = place();
    const size = memory.size - before;
    const list = [first];
    while (list.length * size < bytesPerRound) {
      const address = memory.allocate(size);
      memory.bytes(address, size).set(memory.bytes(before, size));
      list.push(movedBy(first, address - before));
    }
    return list;
  };
  const full = randomMatrix(1);
  const kinds = {
    thin: copies(() => placeBitmask(memory, thin)),
    thick: copies(() => placeBitmask(memory, thick)),
    indexed: copies(() => placeIndexed(memory, thin)),
    dense: copies(() => placeEncoded(memory, full, type, 'trial')),
  };
  const x = memory.allocate(4 * columns);
  memory.floats(x, columns).fill(1);
  const y = memory.allocate(4 * rows);
  const kernels = instantiateRuntimeKernels(compileKernels(build), memory.memory);
  const times = { thin: Infinity, thick: Infinity, indexed: Infinity, dense: Infinity };
  for (let round = 0; round < rounds; round++) {
    for (const kind of ['thin', 'thick', 'indexed', 'dense'] as const) {
      const start = performance.now();
      for (const matrix of kinds[kind]) multiplyVector(kernels, matrix, y, x, 0, rows, 0, false);
      const nanoseconds = ((performance.now() - start) * 1e6) / kinds[kind].length;
      times[kind] = Math.min(times[kind], nanoseconds);
    }
  }
  const [thinValues, thickValues] = [thin.values.byteLength / 2, thick.values.byteLength / 2];
  const maskedValue = Math.max(0, (times.thick - times.thin) / (thickValues - thinValues));
  return {
    maskedValue,
    maskByte: Math.max(0, (times.thin - maskedValue * thinValues) / ((rows * columns) / 8)),
    indexedValue: times.indexed / thinValues,
    denseValue: times.dense / (rows * columns),
  };
}

/** The same matrix some bytes further on. */
function movedBy(matrix: StoredMatrix, distance: number): StoredMatrix {
  const values = matrix.values + distance;
  switch (matrix.kind) {
    case 'dense':
      return { ...matrix, values };
    case 'bitmask':
      return { ...matrix, values, mask: matrix.mask + distance, starts: matrix.starts + distance };
    case 'indexed':
      return { ...matrix, values, indices: matrix.indices + distance, starts: matrix.starts + distance };
  }
}

function randomMatrix(density: number): Matrix {
  const random = new Random(1);
  const result = zeros(rows, columns);
  for (let i = 0; i < result.data.length; i++) if (random.uniform() < density) result.data[i] = random.uniform() + 0.5;
  return result;
}
