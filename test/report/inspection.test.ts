import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CompressedCheckpoint } from '../../src/formats/container/checkpoint.js';
import { SafetensorsCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { inspect, inspectionTable } from '../../src/report/inspection.js';
import { fastestBuild } from '../../src/runtime/kernels.js';
import { tuningKey, writeTunedPlan } from '../../src/runtime/tuned-plan.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { embedded, writePrunedModel } from '../runtime/pruned-model.js';

const folder = writePrunedModel(join(temporaryFolder(), 'pruned'));
const size = (model: string) => statSync(join(model, 'model.safetensors')).size;

test('bytes are split layer by layer, and add up to the file', () => {
  const checkpoint = new CompressedCheckpoint(folder);
  const { files, compressed, bitsPerWeight, entries } = inspect(checkpoint);
  expect(files.bytes).toBe(size(folder));
  expect(bitsPerWeight).toBe((8 * size(folder)) / entries);
  const { layers, headers, values, bitmasks, gaps, kept } = files;
  expect(layers.reduce((sum, { bytes }) => sum + bytes, 0) + headers).toBe(files.bytes);
  expect(values + bitmasks + gaps + kept + headers).toBe(files.bytes);
  expect(headers).toBeGreaterThan(1000);
  expect(values).toBe(2 * (compressed?.nonzeros ?? Number.NaN));
  expect(values + bitmasks + gaps).toBe(compressed?.bytes);
  expect(layers.map(({ layer }) => layer)).toEqual([0, 1, 2, 3, 4, 5].map((i) => `model.layers.${i}`).concat('rest'));
  expect(layers.at(-1)).toMatchObject({ values: 0, bitmasks: 0, gaps: 0, bitsPerWeight: 16 });
  expect(layers.reduce((sum, layer) => sum + layer.entries, 0)).toBe(entries);
  expect(compressed).toMatchObject({
    denseBitsPerWeight: 16,
    singleSparseBitsPerWeight: 1 + (16 * compressed!.nonzeros) / compressed!.entries,
  });
  checkpoint.close();
});

test('a dense model is kept tensors and headers', () => {
  const checkpoint = new SafetensorsCheckpoint(embedded);
  const inspection = inspect(checkpoint);
  const { files } = inspection;
  expect(files).toMatchObject({ bytes: size(embedded), values: 0, bitmasks: 0, gaps: 0 });
  expect(files.kept + files.headers).toBe(size(embedded));
  expect(inspectionTable(inspection)).toContain(`(${size(embedded)} bytes)`);
  checkpoint.close();
});

test('the table shows how each product runs where that is tuned', () => {
  const checkpoint = new CompressedCheckpoint(folder);
  expect(inspectionTable(inspect(checkpoint))).not.toContain('runs as');
  const names = [...checkpoint.products.keys()];
  const plan = Object.fromEntries(names.map((name, i) => [name, i === 0 ? 'indexed' : 'stored'] as const));
  const costs = { maskByte: 1, maskedValue: 1, indexedValue: 1, denseValue: 1 };
  writeTunedPlan(checkpoint, { version: 1, ...tuningKey(checkpoint, fastestBuild()), memory: null, costs, plan });
  const inspection = inspect(checkpoint);
  expect(inspection.tuning).toEqual({ plan: { indexed: 1, stored: names.length - 1 } });
  for (const { product, representation } of inspection.tensors)
    expect(representation).toBe(product === undefined ? undefined : plan[product]);
  expect(inspectionTable(inspection)).toMatch(new RegExp(` {2}${names[0]} +indexed\n`));
  checkpoint.close();
});
