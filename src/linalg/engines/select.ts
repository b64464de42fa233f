import { availableParallelism } from 'node:os';
import { DoubleSparseError } from '../../errors.js';
import { type Engine, type EngineName, engineNames, whole } from '../engine.js';
import { createNativeEngine, findNativeLibrary, type NativeChoice, nativeProblems } from './native.js';
import { createOnnxruntimeEngine } from './onnxruntime.js';
import { referenceEngine } from './reference.js';
import { createWasmEngine } from './wasm.js';

/** Everything needed to build the same engine in another thread. Survives structured cloning and JSON. */
export interface EngineChoice {
  readonly name: EngineName;
  /** The library that was found, for `native` only. */
  readonly native?: NativeChoice;
}

/** What `dsf doctor` tells about one engine. Survives JSON. */
export interface EngineReport {
  readonly name: EngineName;
  readonly available: boolean;
  /** Does the name that was asked for (default `auto`) come to this engine? */
  readonly chosen: boolean;
  /** Library, version and processor kernel, where available. */
  readonly description?: string;
  /** Why it is not available. */
  readonly reason?: string;
  /** Speed of a product of square matrices in shared memory, where available. */
  readonly speed?: EngineSpeed;
  /**
   * How the native library was found. `coreType`: the OPENBLAS_CORETYPE that had to be set; `betterCoreType`: what suits
   * the processor better than the environment's.
   */
  readonly native?: {
    readonly file?: string;
    readonly coreType?: string;
    readonly betterCoreType?: string;
    readonly passedOver: readonly { readonly file: string; readonly reason: string }[];
  };
}

interface EngineSpeed {
  readonly size: number;
  /** 10^9 floating point operations a second with one thread, and with `threads`. */
  readonly oneThread: number;
  readonly allThreads: number;
  /** Threads that the engine took when offered all of the machine's. */
  readonly threads: number;
}

/** What `auto` compares, in the order in which they win a tie. */
const automaticEngines = ['native', 'onnxruntime', 'wasm'] as const satisfies readonly EngineName[];

/**
 * How much faster an engine must be than one before it in the list. Within the noise of a short measurement on a busy
 * machine (a factor of 1.5 was seen) the choice must not depend on the moment: another engine rounds differently. A BLAS
 * without kernels for the processor is many times slower.
 */
const clearlyFaster = 2;

/** Large enough that call overhead and cold caches do not decide, small enough for a few milliseconds a product. */
const trialSize = 384;
const trialRepeats = 4;
const trialTurns = 3;

/** Sizes for the report: about a tenth of a second for each engine. */
const reportSize: Record<EngineName, number> = { native: 1024, onnxruntime: 1024, wasm: 576, reference: 256 };
const reportRepeats = 3;

const failures = new Map<EngineName, DoubleSparseError>();
let automatic: EngineChoice | undefined;

/**
 * Builds an engine.
 * @param name one of {@link engineNames}, or `auto` (default): the fastest on this machine, never `reference`.
 * @throws DoubleSparseError `engine-unavailable`, `unknown-name`
 */
export function createEngine(name: EngineName | 'auto' = 'auto'): Engine {
  return createChosenEngine(chooseEngine(name));
}

/**
 * Decides which engine a name means, and finds its library. Costs some tens of milliseconds for `auto` and starts
 * child processes for `native`; cached for the life of the process. Call it in the main thread, and hand the result
 * to worker threads for {@link createChosenEngine}.
 * @throws DoubleSparseError `engine-unavailable`, `unknown-name`
 */
export function chooseEngine(name: EngineName | 'auto' = 'auto'): EngineChoice {
  if (name === 'auto') {
    automatic ??= choiceOf(fastest());
    return automatic;
  }
  if (!engineNames.includes(name)) {
    throw new DoubleSparseError('unknown-name', `there is no engine "${name}"`, {
      data: { name, known: ['auto', ...engineNames] },
      hint: `engines are: auto, ${engineNames.join(', ')}`,
    });
  }
  if (attempt(name) === undefined) throw failures.get(name) as DoubleSparseError;
  return choiceOf(name);
}

/**
 * Builds the engine of a choice made elsewhere, without searching.
 * @throws DoubleSparseError `engine-unavailable`
 */
export function createChosenEngine(choice: EngineChoice): Engine {
  switch (choice.name) {
    case 'native':
      return createNativeEngine(choice.native);
    case 'onnxruntime':
      return createOnnxruntimeEngine();
    case 'wasm':
      return createWasmEngine();
    case 'reference':
      return referenceEngine;
  }
}

/** Availability and speed of every engine, about a second altogether. Sets engines back to one thread. */
export function reportEngines(requested: EngineName | 'auto' = 'auto'): EngineReport[] {
  const chosen = attemptChoice(requested)?.name;
  return engineNames.map((name) => {
    const engine = attempt(name);
    const native = name === 'native' ? { native: nativeReport() } : {};
    if (engine === undefined) {
      const reason = (failures.get(name) as DoubleSparseError).message;
      return { name, available: false, chosen: false, reason, ...native };
    }
    const speed = measure(engine, reportSize[name]);
    return { name, available: true, chosen: name === chosen, description: engine.description, speed, ...native };
  });
}

/** Why engines could not be used, as far as they have been tried. */
export function engineFailures(): ReadonlyMap<EngineName, DoubleSparseError> {
  return failures;
}

function choiceOf(name: EngineName): EngineChoice {
  const native = name === 'native' ? findNativeLibrary() : undefined;
  return native === undefined ? { name } : { name, native };
}

function attemptChoice(name: EngineName | 'auto'): EngineChoice | undefined {
  try {
    return chooseEngine(name);
  } catch (error) {
    if (error instanceof DoubleSparseError && error.code === 'engine-unavailable') return undefined;
    throw error;
  }
}

/** The engine, or undefined with the reason in {@link failures}. A search that failed is not repeated. */
function attempt(name: EngineName): Engine | undefined {
  if (failures.has(name)) return undefined;
  try {
    const engine = createChosenEngine({ name });
    gflops(engine, 16, 1);
    return engine;
  } catch (error) {
    failures.set(name, asUnavailable(name, error));
    return undefined;
  }
}

function asUnavailable(name: EngineName, error: unknown): DoubleSparseError {
  if (error instanceof DoubleSparseError && error.code === 'engine-unavailable') return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new DoubleSparseError('engine-unavailable', `the engine ${name} does not work here (${reason})`, {
    data: { name, reason },
    cause: error,
  });
}

function fastest(): EngineName {
  const present = automaticEngines.flatMap((name) => {
    const engine = attempt(name);
    if (engine === undefined) return [];
    // Threads that wait for each other on busy cores cost many times the product.
    engine.setThreads(1);
    return [{ name, engine, speed: 0 }];
  });
  // Turn by turn: what else the machine does for a moment then slows one turn, not one engine.
  for (let turn = 0; turn < trialTurns; turn++) {
    for (const each of present) each.speed = Math.max(each.speed, gflops(each.engine, trialSize, trialRepeats));
  }
  let best: (typeof present)[number] | undefined;
  for (const each of present) if (best === undefined || each.speed > clearlyFaster * best.speed) best = each;
  if (best !== undefined) return best.name;
  const reasons = [...failures.values()].map((error) => error.message);
  throw new DoubleSparseError('engine-unavailable', `no engine works here (${reasons.join('; ')})`, {
    data: { reasons },
    hint: 'reinstall the package (npm ci); --engine reference always works, some hundred times slower',
  });
}

function measure(engine: Engine, size: number): EngineSpeed {
  engine.setThreads(1);
  const oneThread = gflops(engine, size, reportRepeats);
  const threads = engine.setThreads(availableParallelism());
  const allThreads = threads === 1 ? oneThread : gflops(engine, size, reportRepeats);
  engine.setThreads(1);
  return { size, oneThread, allThreads, threads };
}

/**
 * Best of some products of two size x size matrices, in 10^9 operations a second. In shared memory, where solvers
 * keep theirs. The product is checked: a fast engine with wrong results must not win.
 */
function gflops(engine: Engine, size: number, repeats: number): number {
  const filled = (value: number) => {
    const data = new Float32Array(new SharedArrayBuffer(size * size * 4)).fill(value);
    return whole({ rows: size, columns: size, data });
  };
  const [a, b, c] = [filled(0.5), filled(2), filled(Number.NaN)];
  let seconds = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const clock = startClock();
    engine.gemm(a, b, c, { transposeA: false, transposeB: true, alpha: 1, beta: 0 });
    seconds = Math.min(seconds, clock());
  }
  const wrong = c.data.find((value) => value !== size);
  if (wrong !== undefined) throw new Error(`a product of ones gave ${wrong} instead of ${size}`);
  return (2 * size ** 3) / seconds / 1e9;
}

/**
 * Wall seconds since the start, or the process's own if they are fewer: where others take the cores, one thread's
 * processor time still tells how fast an engine is. Coarse clocks may count no processor time at all.
 */
function startClock(): () => number {
  const start = performance.now();
  const own = process.cpuUsage();
  return () => {
    const wall = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(own);
    return user + system > 0 ? Math.min(wall, (user + system) / 1e6) : wall;
  };
}

function nativeReport(): NonNullable<EngineReport['native']> {
  const passedOver = [...nativeProblems()];
  const found = failures.has('native') ? undefined : findNativeLibrary();
  if (found === undefined) return { passedOver };
  const { library, ...coreTypes } = found;
  return { file: library.file, ...coreTypes, passedOver };
}
