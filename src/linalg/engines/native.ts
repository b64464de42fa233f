import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { DoubleSparseError } from '../../errors.js';
import type { Block, Engine } from '../engine.js';
import { type NativeLibrary, nativeLibraries } from './native-libraries.js';

// cblas.h
const rowMajor = 101;
const noTranspose = 111;
const transposed = 112;
const lower = 122;

/** OpenBLAS kernels written for AVX-512. */
const wideKernels = /SkylakeX|Cooperlake|SapphireRapids|Zen[45]/i;

/** Old builds take a processor they do not know for a much older one. What to ask for when the CPU flags say more. */
function openBlasCoreType(coreName: string): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const flags = /^flags\s*:(.*)$/m.exec(readTextIfThere('/proc/cpuinfo'))?.[1]?.split(/\s+/) ?? [];
  const has = (...names: string[]): boolean => names.every((name) => flags.includes(name));
  if (has('avx512f', 'avx512dq', 'avx512bw', 'avx512vl') && !wideKernels.test(coreName)) return 'SkylakeX';
  if (has('avx2', 'fma') && /prescott|core2|nehalem|sandybridge|barcelona|bulldozer/i.test(coreName)) return 'Haswell';
  return undefined;
}

function readTextIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Loads a library and calls it once. Also the whole of the forked trial, see {@link tryInChild}. */
function loadNativeLibrary(library: NativeLibrary): Engine {
  const { title, file, prefix, suffix } = library;
  const handle = koffi.load(file);
  // Sizes and strides are 32-bit in every library of the list (LP64 interface).
  const sgemm = handle.func(
    `void ${prefix}cblas_sgemm${suffix}(int, int, int, int, int, int, float, void *, int, void *, int, float, void *, int)`,
  );
  const ssyrk = handle.func(
    `void ${prefix}cblas_ssyrk${suffix}(int, int, int, int, int, float, void *, int, float, void *, int)`,
  );
  const setThreads = library.setThreads === undefined ? undefined : handle.func(`void ${library.setThreads}(int)`);
  const coreName =
    library.coreName === undefined ? undefined : (handle.func(`const char *${library.coreName}()`)() as string);
  const at = (b: Block): Float32Array => (b.offset === 0 ? b.data : b.data.subarray(b.offset));
  let threads = 1;
  return {
    name: 'native',
    description: `${title} (${file}${coreName === undefined ? '' : `, ${coreName} kernels`})`,
    setThreads(wanted) {
      if (setThreads === undefined) return threads;
      threads = Math.max(1, Math.floor(wanted));
      setThreads(threads);
      return threads;
    },
    gemm(a, b, c, { transposeA, transposeB, alpha, beta }) {
      const inner = transposeA ? a.rows : a.columns;
      const opA = transposeA ? transposed : noTranspose;
      const opB = transposeB ? transposed : noTranspose;
      // BLAS wants strides of at least one even for empty operands.
      sgemm(
        rowMajor,
        opA,
        opB,
        c.rows,
        c.columns,
        inner,
        alpha,
        at(a),
        Math.max(1, a.stride),
        at(b),
        Math.max(1, b.stride),
        beta,
        at(c),
        c.stride,
      );
    },
    syrkLower(a, c, { transpose, alpha, beta }) {
      const inner = transpose ? a.rows : a.columns;
      const op = transpose ? transposed : noTranspose;
      ssyrk(rowMajor, lower, op, c.rows, inner, alpha, at(a), Math.max(1, a.stride), beta, at(c), c.stride);
    },
  };
}

/** Loads and multiplies in a process of its own first, so that a library that crashes is a message, not the end of the run. */
function tryInChild(library: NativeLibrary, coreType: string | undefined): { coreName: string } | { problem: string } {
  const script = fileURLToPath(new URL('./native-trial.mjs', import.meta.url));
  const environment = coreType === undefined ? process.env : { ...process.env, OPENBLAS_CORETYPE: coreType };
  const child = spawnSync(process.execPath, [script, JSON.stringify(library)], {
    encoding: 'utf8',
    env: environment,
    timeout: 20_000,
  });
  if (child.status === 0) return { coreName: child.stdout.trim() };
  if (child.signal) return { problem: `ended by ${child.signal}` };
  const message = child.stderr.split('\n').find((line) => /^\w*Error: /.test(line));
  return { problem: message ?? child.error?.message ?? `exit code ${child.status}` };
}

/** The library that {@link findNativeLibrary} chose: its entry in the list, and what `doctor` tells about the search. */
export interface NativeChoice {
  library: NativeLibrary;
  /** OPENBLAS_CORETYPE to set before the first load. */
  coreType?: string;
  /** What suits the processor better than the OPENBLAS_CORETYPE that the environment asks for, which is obeyed. */
  betterCoreType?: string;
}

/** undefined: not searched yet; null: searched in vain. */
let choice: NativeChoice | null | undefined;
const problems: { file: string; reason: string }[] = [];

/** Finds the first library that loads and multiplies in a child process. Cached for the life of the process. */
export function findNativeLibrary(): NativeChoice | undefined {
  if (choice !== undefined) return choice ?? undefined;
  for (const library of nativeLibraries()) {
    const trial = tryInChild(library, undefined);
    if ('problem' in trial) {
      problems.push({ file: `${library.file} (${library.prefix}cblas_sgemm${library.suffix})`, reason: trial.problem });
      continue;
    }
    const coreType = library.coreName === undefined ? undefined : openBlasCoreType(trial.coreName);
    if (coreType === undefined) choice = { library };
    else if (process.env.OPENBLAS_CORETYPE) choice = { library, betterCoreType: coreType };
    else choice = 'coreName' in tryInChild(library, coreType) ? { library, coreType } : { library };
    return choice;
  }
  choice = null;
  return undefined;
}

/** Why libraries were passed over. */
export function nativeProblems(): readonly { file: string; reason: string }[] {
  return problems;
}

/**
 * The native engine. In a worker thread pass the main thread's choice, which has set the core type already.
 * @throws DoubleSparseError `engine-unavailable` when no library of the list can be used.
 */
export function createNativeEngine(chosen: NativeChoice | undefined = findNativeLibrary()): Engine {
  if (chosen === undefined) {
    const tried = problems.map(({ file, reason }) => `${file}: ${reason}`);
    throw new DoubleSparseError('engine-unavailable', `no BLAS library could be used (${tried.join('; ')})`, {
      data: { tried },
      hint: 'install OpenBLAS (Debian: libopenblas0-pthread), or name a library in DSF_BLAS, or use --engine onnxruntime',
    });
  }
  if (chosen.coreType !== undefined && isMainThread) process.env.OPENBLAS_CORETYPE = chosen.coreType;
  return loadNativeLibrary(chosen.library);
}
