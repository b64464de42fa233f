import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openImages } from '../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../src/calibration/images/options.js';
import { cnnCompareOptionsSchema, compareOnnx } from '../../src/comparison/compare-onnx.js';
import { openOnnx } from '../../src/formats/onnx/reader.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { idxBytes } from '../calibration/images/idx-bytes.js';
import { imagePixels, imageSide, residualModel } from '../compression/cnn/residual-fixture.js';
import { temporaryFolder } from '../formats/temporary-folder.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const unsigned = 8;
function images(name: string, count: number, seed: number) {
  writeFileSync(at(name), idxBytes(unsigned, [count, imageSide, imageSide], imagePixels(count, seed)));
  return openImages(at(name));
}
writeFileSync(at('model.onnx'), residualModel());
const model = openOnnx(at('model.onnx'));
const preprocessing = preprocessingSchema.parse({ mean: [0.5], std: [0.25] });
const calibration = { source: images('calibration', 32, 3), preprocessing };
const test1 = { source: images('test1', 24, 4), labels: undefined, batchSize: undefined };
const test2 = { source: images('test2', 24, 5), labels: undefined, batchSize: undefined };
const options = cnnCompareOptionsSchema.parse({
  engine: 'wasm',
  threads: 1,
  methods: ['magnitude'],
  sparsities: [0.5],
  allocate: 'uniform',
  sequential: 'dense',
});

test('kept rows are those of these test images: of others as many they are refused, and computed anew with force', async () => {
  const keep = at('keep');
  const first = await compareOnnx(model, calibration, test1, options, keep);
  const error = await rejectionOf(() => compareOnnx(model, calibration, test2, options, keep), 'run-mismatch');
  expect(error.message).toMatch(/evaluation was .*, now /);
  const truth = await compareOnnx(model, calibration, test2, options, undefined);
  const forced = await compareOnnx(model, calibration, test2, { ...options, force: true }, keep);
  const loss = ({ rows }: typeof first) => rows[0]!.evaluation.parity!.logits!.meanRelative;
  expect(loss(forced)).toBe(loss(truth));
  expect(loss(forced)).not.toBe(loss(first));
  const again = await compareOnnx(model, calibration, test2, options, keep);
  expect(again.rows[0]!.seconds).toBe(forced.rows[0]!.seconds);
  // A row without its model is none.
  rmSync(join(keep, 'magnitude-0.5.onnx'));
  const anew = await compareOnnx(model, calibration, test2, options, keep);
  expect(anew.rows[0]!.seconds).not.toBe(forced.rows[0]!.seconds);
});

test('a row that fails is told with its reason, and the others go on', async () => {
  const keep = at('failing');
  // The sparsest levels do not reach it.
  const both = { ...options, allocate: 'errors' as const, sparsities: [0.999, 0.5] };
  const events: string[] = [];
  const { rows, failed } = await compareOnnx(model, calibration, test1, both, keep, ({ kind }) => events.push(kind));
  expect(rows.map(({ sparsity }) => sparsity)).toEqual([0.5]);
  expect(failed).toEqual([
    { method: 'magnitude', sparsity: 0.999, reason: expect.stringMatching(/0\.999 is above the sparsest levels/) },
  ]);
  expect(events.filter((kind) => kind !== 'run' && kind !== 'evaluated')).toEqual(['dense', 'failed', 'row']);
  expect(readdirSync(keep).sort()).toEqual(['magnitude-0.5.json', 'magnitude-0.5.onnx']);
});

test('rows of other settings are refused before anything is computed', async () => {
  const events: string[] = [];
  const other = { ...options, sparsities: [0.7, 0.5], samples: 9 };
  await rejectionOf(
    () => compareOnnx(model, calibration, test1, other, at('failing'), ({ kind }) => events.push(kind)),
    'run-mismatch',
  );
  expect(events).toEqual([]);
});
