// Factorises one LLaMA-2-7B-shaped layer (4096 x 11008, synthetic) and prints GFLOP/s, the share of time in matrix
// products and peak memory. usage: node bench/large-layer.mjs [--out 4096] [--in 11008] [--effort fast] [--threads N]
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { doubleSparse } from '../dist/factorization/double-sparse/double-sparse.js';
import { Compute } from '../dist/linalg/compute.js';
import { createEngine } from '../dist/linalg/engines/select.js';
import { syntheticLayer } from './synthetic-layer.mjs';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: '4096' },
    in: { type: 'string', default: '11008' },
    effort: { type: 'string', default: 'fast' },
    sparsity: { type: 'string', default: '0.5' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const engine = createEngine();
engine.setThreads(Number(values.threads));
const compute = new Compute(engine);
const [out, inputs] = [Number(values.out), Number(values.in)];
const { weight, gram } = syntheticLayer(compute, out, inputs);
const options = { sparsity: Number(values.sparsity), effort: values.effort, seed: 0 };
const { metrics } = doubleSparse(weight, gram, options, compute);
const peak = process.resourceUsage().maxRSS * 1024;
console.log(`${out}x${inputs}, ${values.effort}, ${engine.description}, ${values.threads} threads`);
console.log(
  `relative error ${metrics.relativeError.toPrecision(3)}, nonzeros ${metrics.nonzeros} of ${metrics.budget} allowed`,
);
console.log(
  `${metrics.seconds.toFixed(1)} s, ${((100 * metrics.productSeconds) / metrics.seconds).toFixed(0)} % in products at ${(metrics.productFlops / metrics.productSeconds / 1e9).toFixed(0)} GFLOP/s (${(metrics.productFlops / 1e12).toFixed(1)} TFLOP)`,
);
const [w, h] = [weight.data.byteLength, gram.data.byteLength];
console.log(
  `peak memory of the process ${(peak / 1e9).toFixed(2)} GB; weight ${(w / 1e9).toFixed(2)} GB, Gram matrix ${(h / 1e9).toFixed(2)} GB`,
);
