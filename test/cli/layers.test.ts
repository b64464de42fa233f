import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FactorizationMetrics } from '../../src/factorization/factorization.js';
import { methodNames } from '../../src/factorization/registry.js';
import { randomLayer } from '../factorization/random-layer.js';
import { dsf, root } from './run-dsf.js';

const shared = join(root, '../shared/data/layers');
const folder = mkdtempSync(join(tmpdir(), 'dsf-layers-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Output {
  layers: { name: string; shape: [number, number]; methods: Record<string, FactorizationMetrics> }[];
}

/** A safetensors file of F32 tensors. */
function writeTensors(
  path: string,
  tensors: Record<string, { shape: number[]; data: Float32Array }>,
  metadata = {},
): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const parts = Object.values(tensors).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(path, Buffer.concat([length, json, ...parts]));
}

function writeLayer(path: string, change: (layer: ReturnType<typeof randomLayer>) => void = () => {}): string {
  const layer = randomLayer(24, 16, 1);
  change(layer);
  const { weight, gram } = layer;
  writeTensors(path, {
    'block.up.weight': { shape: [weight.rows, weight.columns], data: weight.data },
    'block.up.gram': { shape: [gram.rows, gram.columns], data: gram.data },
  });
  return path;
}

describe('dsf layers', () => {
  it('runs every method and prints JSON on standard output, progress on standard error', () => {
    const { status, stdout, stderr } = dsf(
      'layers',
      writeLayer(join(folder, 'a.safetensors')),
      '--methods',
      methodNames.join(','),
      '--json',
    );
    expect(stderr).toContain('[11/11]');
    expect(status).toBe(0);
    const [layer] = (JSON.parse(stdout) as Output).layers;
    expect(layer).toMatchObject({ name: 'block.up', shape: [24, 16] });
    // In the order asked for, whichever job ended first.
    expect(Object.keys(layer?.methods ?? {})).toEqual(methodNames);
    for (const method of methodNames) {
      const metrics = layer?.methods[method] as FactorizationMetrics;
      expect(metrics.nonzeros, method).toBeLessThanOrEqual(192);
      expect(metrics.relativeError, method).toBeGreaterThanOrEqual(0);
      expect(metrics.relativeError, method).toBeLessThanOrEqual(1);
      expect(metrics.seconds, method).toBeGreaterThan(0);
    }
  });

  it('prints a table with totals', () => {
    const { status, stdout } = dsf(
      'layers',
      writeLayer(join(folder, 'b.safetensors')),
      '--methods',
      'wanda,magnitude',
      '--sparsity',
      '0.75',
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/block\.up +24x16 +wanda +0\.\d+ +96 +25\.00 % +\d/);
    expect(stdout).toMatch(/^total/m);
  });

  it('gives the same numbers for the same seed, engine and threads', () => {
    const path = writeLayer(join(folder, 'c.safetensors'));
    const runs = [0, 1].map(() =>
      dsf(
        'layers',
        path,
        '--methods',
        'double-sparse,double-sparse-fixed-mask',
        '--seed',
        '5',
        '--engine',
        'wasm',
        '--json',
      ),
    );
    const [first, second] = runs.map(({ stdout }) =>
      (JSON.parse(stdout) as Output).layers.map(({ methods }) =>
        Object.values(methods).map(({ relativeError }) => relativeError),
      ),
    );
    expect(second).toEqual(first);
  });

  it.each<[string, number, RegExp, () => string[]]>([
    ['a missing file', 1, /cannot read .*nowhere/, () => [join(folder, 'nowhere')]],
    ['a file that is none', 1, /not safetensors/, () => [fileURLToPath(import.meta.url)]],
    [
      'a NaN, with tensor and place',
      1,
      /block\.up holds NaN at row 1, column 4/,
      () => [writeLayer(join(folder, 'nan.safetensors'), ({ weight }) => weight.data.fill(Number.NaN, 20, 21))],
    ],
    [
      'a weight without Gram matrix',
      1,
      /lonely\.weight has no Gram matrix lonely\.gram/,
      () => {
        const path = join(folder, 'lonely.safetensors');
        writeTensors(path, { 'lonely.weight': { shape: [2, 2], data: new Float32Array(4) } });
        return [path];
      },
    ],
    ['sparsity 1', 2, /sparsity/, () => [writeLayer(join(folder, 'd.safetensors')), '--sparsity', '1']],
    ['an unknown method', 2, /methods/, () => [writeLayer(join(folder, 'd.safetensors')), '--methods', 'guess']],
    ['an unknown flag', 2, /unknown option '--fast'/, () => [writeLayer(join(folder, 'd.safetensors')), '--fast']],
  ])('refuses %s', (_case, code, message, args) => {
    const { status, stdout, stderr } = dsf('layers', ...args());
    expect(stderr).toMatch(message);
    expect(status).toBe(code);
    expect(stdout).toBe('');
  });
});

describe.skipIf(!existsSync(shared))('real layers (../shared/data, if it is there)', () => {
  const errors = new Map<string, Record<string, FactorizationMetrics>>();
  const golden = existsSync(shared)
    ? (
        JSON.parse(readFileSync(join(shared, 'reference.json'), 'utf8')) as {
          layers: Record<string, Record<string, { relativeError: number }>>;
        }
      ).layers
    : {};
  const reference = (name: string): number => golden[name]?.['double-sparse-reference']?.relativeError ?? Number.NaN;
  const geometricMean = (values: number[]): number =>
    Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

  function run(...args: string[]): Output {
    const files = readdirSync(shared).filter((name) => name.endsWith('.safetensors'));
    const { stdout, stderr, status } = dsf('layers', ...files.map((name) => join(shared, name)), '--json', ...args);
    expect(stderr).not.toContain('dsf:');
    expect(status).toBe(0);
    return JSON.parse(stdout) as Output;
  }

  beforeAll(() => {
    for (const { name, methods } of run('--methods', 'double-sparse,double-sparse-reference').layers)
      errors.set(name, methods);
  }, 600_000);

  it('reproduces the reference schedule within 3 % on every layer', () => {
    for (const [name, methods] of errors) {
      const { relativeError } = methods['double-sparse-reference'] as FactorizationMetrics;
      // The reference is chaotic in the last bits: supports chosen among near-ties differ between libraries.
      expect(Math.abs(relativeError / reference(name) - 1), name).toBeLessThan(0.03);
    }
    expect(errors.size).toBe(10);
  });

  it('beats it by far with the default schedule, within the budget', () => {
    const ratios = [...errors].map(([name, methods]) => {
      const metrics = methods['double-sparse'] as FactorizationMetrics;
      expect(metrics.nonzeros, name).toBe(metrics.budget);
      return metrics.relativeError / reference(name);
    });
    expect(geometricMean(ratios)).toBeLessThan(0.6);
    expect(Math.max(...ratios)).toBeLessThan(0.95);
  });

  it('is no worse than it with the fast schedule', () => {
    const { layers } = run('--methods', 'double-sparse', '--effort', 'fast');
    const ratios = layers.map(
      ({ name, methods }) => (methods['double-sparse'] as FactorizationMetrics).relativeError / reference(name),
    );
    expect(geometricMean(ratios)).toBeLessThan(1);
  }, 300_000);
});
