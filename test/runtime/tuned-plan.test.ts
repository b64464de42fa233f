import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, expect, test } from 'vitest';
import { CompressedCheckpoint } from '../../src/formats/container/checkpoint.js';
import { tunePlan } from '../../src/runtime/choose-plan.js';
import { fastestBuild } from '../../src/runtime/kernels.js';
import { loadTokenModel } from '../../src/runtime/load-model.js';
import { productSizes } from '../../src/runtime/product-sizes.js';
import { representationCost } from '../../src/runtime/representation.js';
import { readTunedPlan, type TunedPlan, tunedPlanPath, writeTunedPlan } from '../../src/runtime/tuned-plan.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { writePrunedModel } from './pruned-model.js';

const checkpoint = new CompressedCheckpoint(writePrunedModel(join(temporaryFolder(), 'pruned')));
const build = fastestBuild();
const path = tunedPlanPath(checkpoint);
const tuned = tunePlan(checkpoint, build);
const open: { close(): Promise<void> }[] = [];
afterEach(() => rmSync(path, { force: true }));
afterAll(async () => {
  await Promise.all(open.map((model) => model.close()));
  checkpoint.close();
});

const load = async (options: Parameters<typeof loadTokenModel>[1] = {}) => {
  const loaded = await loadTokenModel(checkpoint, { threads: 1, engine: 'wasm', capacity: 8, ...options });
  open.push(loaded.model);
  return loaded;
};
const bytesOf = ({ plan }: Pick<TunedPlan, 'plan'>): number =>
  productSizes(checkpoint).reduce(
    (sum, product) => sum + representationCost(product, plan[product.name]!, tuned.costs).bytes,
    0,
  );

test('names every product and keeps to the memory given', () => {
  expect(Object.keys(tuned.plan).sort()).toEqual([...checkpoint.products.keys()].sort());
  expect(tuned.memory).toBeNull();
  const stored = bytesOf({ plan: Object.fromEntries([...checkpoint.products.keys()].map((name) => [name, 'stored'])) });
  const limited = tunePlan(checkpoint, build, { memory: Math.ceil(1.2 * stored) });
  expect(bytesOf(limited)).toBeLessThanOrEqual(1.2 * stored + 1);
});

test('is used at loading, unless memory of another size is asked for', async () => {
  expect((await load()).planSource).toBe('stored');
  const plan = Object.fromEntries([...checkpoint.products.keys()].map((name) => [name, 'indexed' as const]));
  writeTunedPlan(checkpoint, { ...tuned, plan });
  expect(await load()).toMatchObject({ plan, planSource: 'tuned' });
  expect((await load({ memory: 1 })).planSource).toBe('measured');
  expect((await load({ representation: 'stored' })).planSource).toBe('given');
});

test.each([
  { change: { processor: 'another' }, says: 'measured on another' },
  { change: { kernels: build === 'plain' ? 'relaxed' : 'plain' }, says: 'kernels' },
  { change: { model: 'f'.repeat(64) }, says: 'another model' },
  { change: { plan: { 'no product': 'stored' } }, says: 'another model' },
  { change: { version: 2 }, says: 'damaged' },
] as const)('is ignored with a message: $says', async ({ change, says }) => {
  writeFileSync(path, JSON.stringify({ ...tuned, ...change }));
  const { planSource, tuningIgnored } = await load();
  expect(planSource).toBe('stored');
  expect(tuningIgnored).toContain(says);
  expect(tuningIgnored).toContain('dsf tune');
});

test('whatever the file holds is read back or ignored', () => {
  writeTunedPlan(checkpoint, tuned);
  const text = readFileSync(path);
  expect(readTunedPlan(checkpoint, build)).toEqual({ tuned });
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.uint8Array({ maxLength: 8 }), fc.nat(20), (at, inserted, removed) => {
      writeFileSync(path, Buffer.concat([text.subarray(0, at), inserted, text.subarray(at + removed)]));
      const result = readTunedPlan(checkpoint, build)!;
      if ('ignored' in result) expect(result.ignored).toContain(path);
      else expect(Object.keys(result.tuned.plan)).toHaveLength(checkpoint.products.size);
    }),
    { numRuns: 200 },
  );
});
