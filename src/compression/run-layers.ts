import { availableParallelism } from 'node:os';
import { DoubleSparseError } from '../errors.js';
import type { FactorizationMetrics, FactorizationOptions } from '../factorization/factorization.js';
import type { MethodName } from '../factorization/registry.js';
import { chooseEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { Layer } from './layer-files.js';
import type { LayersOptions } from './layers-options.js';
import { type MatrixJob, stacks } from './matrix-job.js';
import { MatrixPool } from './matrix-pool.js';

export interface LayerResult {
  readonly name: string;
  /** [out, in] */
  readonly shape: readonly [number, number];
  readonly methods: Partial<Record<MethodName, FactorizationMetrics>>;
}

export interface LayersProgress {
  /** Finished and total jobs, and the one that just ended. */
  readonly done: number;
  readonly total: number;
  readonly method: MethodName;
  readonly results: readonly { readonly name: string; readonly metrics: FactorizationMetrics }[];
}

export interface LayersRun {
  readonly layers: readonly LayerResult[];
  readonly engine: EngineChoice;
  readonly workers: number;
  readonly blasThreads: number;
  /** Wall seconds of all methods together. */
  readonly seconds: number;
}

/** Which weights a method that stacks takes as one: q, k and v of one attention. gate and up together are worse. */
const stackable = /^(.*)\.(q|k|v)_proj$/;

/** Groups of layers that one job of `method` takes together. */
function groupLayers(layers: readonly Layer[], method: MethodName): Layer[][] {
  const groups = new Map<string, Layer[]>();
  for (const layer of layers) {
    const stack = stacks(method) ? stackable.exec(layer.name)?.[1] : undefined;
    const key = stack === undefined ? `layer ${layer.name}` : `stack ${stack} ${layer.gramName}`;
    groups.set(key, [...(groups.get(key) ?? []), layer]);
  }
  return [...groups.values()];
}

/**
 * Runs every method on every layer, in worker threads, the longest jobs of a method first.
 * @throws DoubleSparseError of the first job that fails.
 */
export async function runLayers(
  layers: readonly Layer[],
  options: LayersOptions,
  report: (progress: LayersProgress) => void = () => {},
): Promise<LayersRun> {
  const start = performance.now();
  const engine = chooseEngine(options.engine);
  const { sparsity, effort, seed } = options;
  refuseDuplicates(layers);
  const results = new Map(layers.map(({ name }) => [name, {} as Partial<Record<MethodName, FactorizationMetrics>>]));
  const jobs = options.methods.flatMap((method) => jobsOf(layers, method, { sparsity, effort, seed }));
  const pool = new MatrixPool({
    choice: engine,
    threads: options.threads ?? availableParallelism(),
    jobs: jobs.length,
  });
  let done = 0;
  try {
    await Promise.all(
      jobs.map(async (job) => {
        const members = await pool.run(job);
        for (const { name, metrics } of members)
          (results.get(name) as Partial<Record<MethodName, FactorizationMetrics>>)[job.method] = metrics;
        report({ done: ++done, total: jobs.length, method: job.method, results: members });
      }),
    );
  } finally {
    await pool.close();
  }
  return {
    layers: layers.map(({ name, weight }) => ({
      name,
      shape: [weight.rows, weight.columns],
      methods: inOrder(options.methods, results.get(name) ?? {}),
    })),
    engine,
    workers: pool.workers,
    blasThreads: pool.blasThreads,
    seconds: (performance.now() - start) / 1000,
  };
}

/** Jobs end in any order; results are listed as the methods were asked for. */
function inOrder(methods: readonly MethodName[], results: LayerResult['methods']): LayerResult['methods'] {
  return Object.fromEntries(methods.map((method) => [method, results[method]]));
}

function refuseDuplicates(layers: readonly Layer[]): void {
  const names = layers.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new DoubleSparseError('option-out-of-range', `the layer ${twice} is there twice`, {
    data: { name: twice },
    hint: 'give one file at a time, or rename it in one of them',
  });
}

function jobsOf(layers: readonly Layer[], method: MethodName, options: FactorizationOptions): MatrixJob[] {
  const jobs = groupLayers(layers, method).map((members): MatrixJob => {
    const [first] = members as [Layer, ...Layer[]];
    return { method, options, members, gram: first.gram, gramName: first.gramName };
  });
  return jobs.sort((a, b) => cost(b) - cost(a));
}

/** In proportion to the operations of one outer iteration: k (out in + k max(out, in)), and of a refit: in (out in). */
function cost({ members, gram }: MatrixJob): number {
  const rows = members.reduce((sum, { weight }) => sum + weight.rows, 0);
  const inner = Math.min(rows, gram.rows);
  return rows * gram.rows * (4 * inner + gram.rows);
}
