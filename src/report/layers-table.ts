import type { LayersRun } from '../compression/run-layers.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { type MethodName, methodNames } from '../factorization/registry.js';
import { formatError, renderTable } from './table.js';

/** layers x methods: relative error, nonzeros kept, seconds; then totals. */
export function layersTable({ layers }: Pick<LayersRun, 'layers'>): string {
  const methods = methodNames.filter((method) => layers.some((layer) => layer.methods[method]));
  const header = ['layer', 'shape', 'method', 'relative error', 'nonzeros', 'kept', 'seconds'];
  const rows = layers.flatMap(({ name, shape, methods: results }) =>
    methods.flatMap((method, index) => {
      const metrics = results[method];
      if (!metrics) return [];
      const first = index === 0 ? [name, shape.join('x')] : ['', ''];
      return [
        [
          ...first,
          method,
          formatError(metrics.relativeError),
          ...sizes(metrics, shape[0] * shape[1]),
          metrics.seconds.toFixed(2),
        ],
      ];
    }),
  );
  return `${renderTable(header, rows)}\n\n${totalsTable(layers, methods)}`;
}

function sizes({ nonzeros }: FactorizationMetrics, entries: number): string[] {
  return [String(nonzeros), `${((100 * nonzeros) / entries).toFixed(2)} %`];
}

/** One row a method: geometric mean of the relative errors, sums of the others. Seconds are summed over threads. */
function totalsTable(layers: LayersRun['layers'], methods: readonly MethodName[]): string {
  const rows = methods.map((method) => {
    const results = layers.flatMap(({ shape, methods: found }) => {
      const metrics = found[method];
      return metrics ? [{ metrics, entries: shape[0] * shape[1] }] : [];
    });
    const sum = (of: (result: (typeof results)[number]) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    const seconds = sum(({ metrics }) => metrics.seconds);
    const mean = Math.exp(sum(({ metrics }) => Math.log(Math.max(metrics.relativeError, 1e-30))) / results.length);
    const nonzeros = sum(({ metrics }) => metrics.nonzeros);
    const products = sum(({ metrics }) => metrics.productSeconds);
    return [
      method,
      String(results.length),
      formatError(mean),
      String(nonzeros),
      `${((100 * nonzeros) / sum(({ entries }) => entries)).toFixed(2)} %`,
      seconds.toFixed(2),
      seconds > 0 ? `${((100 * products) / seconds).toFixed(0)} %` : '',
      products > 0 ? (sum(({ metrics }) => metrics.productFlops) / products / 1e9).toFixed(0) : '',
    ];
  });
  return renderTable(['total', 'layers', 'mean error', 'nonzeros', 'kept', 'seconds', 'in products', 'GFLOP/s'], rows);
}
