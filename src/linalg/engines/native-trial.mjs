// Run by native.ts in a process of its own: loads one BLAS library, multiplies once, prints the processor kernel it
// chose. Whatever goes wrong here, a crash included, costs only this process.
import koffi from 'koffi';

const { file, prefix, suffix, coreName } = JSON.parse(process.argv[2]);
const library = koffi.load(file);
const sgemm = library.func(
  `void ${prefix}cblas_sgemm${suffix}(int, int, int, int, int, int, float, void *, int, void *, int, float, void *, int)`,
);
const n = 64;
const a = new Float32Array(n * n).fill(0.5);
const b = new Float32Array(n * n).fill(2);
const c = new Float32Array(n * n).fill(Number.NaN);
sgemm(101, 111, 112, n, n, n, 1, a, n, b, n, 0, c, n);
if (!c.every((value) => value === n))
  throw new Error(`a product of ones gave ${c.find((value) => value !== n)} instead of ${n}`);
process.stdout.write(coreName === undefined ? 'unknown' : library.func(`const char *${coreName}()`)());
