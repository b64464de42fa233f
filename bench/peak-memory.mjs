// Peak memory of one factorisation against the bound 9 x weight + 4 x Gram matrix, inputs and results included, for a
// square, a wide and a tall layer: growth of the resident set of a fresh process beyond Node and the engine.
import { spawnSync } from 'node:child_process';
import { doubleSparse } from '../dist/factorization/double-sparse/double-sparse.js';
import { Compute } from '../dist/linalg/compute.js';
import { createEngine } from '../dist/linalg/engines/select.js';
import { syntheticLayer } from './synthetic-layer.mjs';

const shapes = [
  [3072, 3072],
  [1536, 4096],
  [4096, 1536],
];
if (process.argv[2] === undefined) {
  for (const shape of shapes) {
    const child = spawnSync(process.execPath, [process.argv[1], ...shape.map(String)], { encoding: 'utf8' });
    if (child.status !== 0) throw new Error(child.stderr);
    process.stdout.write(child.stdout);
  }
} else {
  const [out, inputs] = process.argv.slice(2).map(Number);
  const compute = new Compute(createEngine());
  const options = { sparsity: 0.5, effort: 'default', seed: 0 };
  // Code and BLAS buffers are in place after a small layer.
  const small = syntheticLayer(compute, 128, 128);
  doubleSparse(small.weight, small.gram, options, compute);
  const before = process.memoryUsage().rss;
  const { weight, gram } = syntheticLayer(compute, out, inputs, { rank: 32 });
  doubleSparse(weight, gram, options, compute);
  const grown = process.resourceUsage().maxRSS * 1024 - before;
  const bound = 9 * weight.data.byteLength + 4 * gram.data.byteLength;
  console.log(
    `${out}x${inputs}: ${(grown / 1e6).toFixed(0)} MB, bound ${(bound / 1e6).toFixed(0)} MB, ratio ${(grown / bound).toFixed(2)}`,
  );
}
