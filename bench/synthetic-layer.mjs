// A weight and a Gram matrix of correlated inputs, made quickly at any size: H = diagonal + low rank, like real layers.
import { Random } from '../dist/linalg/random.js';

/** out x in weight and in x in Gram matrix (rank `rank` plus a diagonal), in shared memory. */
export function syntheticLayer(compute, out, inputs, { rank = 256, seed = 1 } = {}) {
  const random = new Random(seed);
  const shared = (rows, columns) => ({
    rows,
    columns,
    data: new Float32Array(new SharedArrayBuffer(rows * columns * 4)),
  });
  const fill = (m, scale) => {
    for (let i = 0; i < m.data.length; i++)
      m.data[i] = scale * (random.uniform() + random.uniform() + random.uniform() - 1.5);
    return m;
  };
  const weight = fill(shared(out, inputs), 0.04);
  const mixing = fill(shared(inputs, rank), 1);
  for (let i = 0; i < inputs; i++) {
    // Input sizes spread over two orders of magnitude, sources decay: both as in real layers.
    const size = 10 ** (2 * random.uniform() - 1);
    for (let j = 0; j < rank; j++) mixing.data[i * rank + j] *= size / Math.sqrt(1 + j);
  }
  const gram = shared(inputs, inputs);
  compute.syrk(mixing, gram);
  for (let i = 0; i < inputs; i++) gram.data[i * inputs + i] *= 1.5;
  return { weight, gram };
}
