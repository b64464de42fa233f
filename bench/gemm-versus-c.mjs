// Does calling BLAS from Node cost anything? The native engine's gemm against the same library called from C, with one
// thread and with all, interleaved; medians. Skips where there is no C compiler or no native engine.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Compute } from '../dist/linalg/compute.js';
import { createNativeEngine, findNativeLibrary } from '../dist/linalg/engines/native.js';

const rounds = 7;
const repeats = 15;
const folder = mkdtempSync(join(tmpdir(), 'dsf-bench-'));
const program = join(folder, 'gemm');
const source = fileURLToPath(new URL('./gemm.c', import.meta.url));
const choice = findNativeLibrary();
const built = spawnSync('cc', ['-O2', source, '-o', program, '-ldl']).status === 0;
if (!choice || !built) {
  console.log(choice ? 'no C compiler: nothing to compare with' : 'no native engine on this machine');
  rmSync(folder, { recursive: true });
  process.exit(0);
}
const engine = createNativeEngine(choice);
const compute = new Compute(engine);
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
console.log(engine.description);

function fromNode(size) {
  return compute.scope(() => {
    const [a, b, c] = [0, 1, 2].map(() => compute.matrix(size, size));
    a.data.forEach((_, i) => {
      a.data[i] = (i % 7) - 3;
    });
    b.data.forEach((_, i) => {
      b.data[i] = (i % 5) - 2;
    });
    compute.gemm(a, b, c);
    const seconds = Array.from({ length: repeats }, () => {
      const start = performance.now();
      compute.gemm(a, b, c);
      return (performance.now() - start) / 1000;
    });
    return (2 * size ** 3) / median(seconds) / 1e9;
  });
}

for (const threads of [1, availableParallelism()]) {
  engine.setThreads(threads);
  const environment = {
    ...process.env,
    OPENBLAS_NUM_THREADS: String(threads),
    MKL_NUM_THREADS: String(threads),
    BLIS_NUM_THREADS: String(threads),
  };
  for (const size of [192, 576, 1536]) {
    const [node, c] = [[], []];
    for (let round = 0; round < rounds; round++) {
      node.push(fromNode(size));
      c.push(
        Number(
          spawnSync(program, [choice.library.file, String(size), String(repeats)], {
            encoding: 'utf8',
            env: environment,
          }).stdout,
        ),
      );
    }
    const [ours, theirs] = [median(node), median(c)];
    console.log(
      `${threads} threads, ${size}: Node ${ours.toFixed(1)} GFLOP/s, C ${theirs.toFixed(1)}, ratio ${(ours / theirs).toFixed(3)}`,
    );
  }
}
rmSync(folder, { recursive: true });
