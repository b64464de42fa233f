import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { SpeedComparison } from '../../src/evaluation/speed/compare-speeds.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { embedded, writePrunedModel } from '../runtime/pruned-model.js';
import { dsf } from './run-dsf.js';

const model = writePrunedModel(join(temporaryFolder(), 'pruned'));
const quick = ['--rounds', '3', '--tokens', '4'];

describe('dsf bench', () => {
  test('compares a model with its original and what is on the machine', { timeout: 60_000 }, () => {
    const { status, stdout, stderr } = dsf('bench', model, '--against', embedded, '--json', ...quick);
    expect(status, stderr).toBe(0);
    const { rows, machine, absent, sentence } = JSON.parse(stdout) as SpeedComparison & { sentence: string };
    expect(rows[0]).toMatchObject({ kind: 'runtime', path: model, report: { model: { compressed: true } } });
    expect(rows[1]).toMatchObject({ kind: 'runtime', path: embedded, report: { model: { compressed: false } } });
    const { representations = {} } = rows[0]?.report.model ?? {};
    expect(Object.values(representations).reduce((sum, products) => sum + products, 0)).toBe(42);
    for (const { kind, tokensPerSecond, prompts, firstToken, report } of rows) {
      expect(tokensPerSecond.low).toBeGreaterThan(0);
      if (kind !== 'runtime') continue;
      expect(prompts.map(({ length }) => length)).toEqual([128, 508]);
      expect(firstToken?.median).toBeGreaterThan(0);
      expect(report.residentBytes).toBeGreaterThan(report.model?.weightBytes ?? Number.NaN);
    }
    expect(machine.bandwidth).toBeGreaterThan(1e8);
    expect(absent.join()).toContain('node-llama-cpp');
    expect(sentence).toMatch(/^The compressed model generates/);
  });

  test('a model that cannot be loaded is an error of its own', () => {
    const { status, stderr } = dsf('bench', model, '--against', join(model, 'nothing'), ...quick);
    expect(status).toBe(1);
    expect(stderr).toContain('there is no file or folder');
  });

  test('more tokens than the context has are refused', () => {
    const { status, stderr } = dsf('bench', model, '--rounds', '1', '--tokens', '600');
    expect(status).toBe(2);
    expect(stderr).toContain('--tokens');
  });

  test('threads beyond the cores are told, many more are refused', { timeout: 60_000 }, () => {
    const cores = availableParallelism();
    const options = ['--rounds', '1', '--tokens', '2', '--representation', 'stored'];
    const { status, stdout, stderr } = dsf('bench', model, '--threads', `${cores + 1}`, ...options);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain(`${cores + 1} threads on ${cores} cores`);
    expect(stdout).toContain('products run 42 stored');
    expect(stdout).toContain('too few to tell');
    const refused = dsf('bench', model, '--threads', `${4 * cores + 1}`);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain(`use --threads ${cores}`);
  });

  test('rivals of a model named by its id are looked for in its snapshot; one that fails is listed', () => {
    const cache = temporaryFolder();
    const snapshot = join(cache, 'models--organisation--model/snapshots/1');
    mkdirSync(join(snapshot, 'onnx'), { recursive: true });
    for (const name of ['config.json', 'model.safetensors']) symlinkSync(join(embedded, name), join(snapshot, name));
    writeFileSync(join(snapshot, 'onnx/model.onnx'), 'no model');
    vi.stubEnv('HF_HUB_CACHE', cache);
    const { status, stdout, stderr } = dsf('bench', 'organisation/model', '--rounds', '1', '--tokens', '2', '--json');
    vi.unstubAllEnvs();
    expect(status, stderr).toBe(0);
    const { rows, absent } = JSON.parse(stdout) as SpeedComparison;
    expect(rows[0]?.path).toBe('organisation/model');
    const line = absent.find((each) => each.startsWith('onnxruntime: '));
    expect(line).toContain(join(snapshot, 'onnx/model.onnx'));
    expect(line).not.toContain('no onnx/model.onnx');
  });
});
