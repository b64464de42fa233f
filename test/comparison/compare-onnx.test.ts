import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImages } from '../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../src/calibration/images/options.js';
import { compareOnnx } from '../../src/comparison/compare-onnx.js';
import { cnnCompareOptionsSchema } from '../../src/comparison/onnx-comparison.js';
import type { ImageEvaluation } from '../../src/evaluation/evaluate-images.js';
import { finetuneOnnx } from '../../src/finetuning/images/finetune-onnx.js';
import { imageFinetuneOptionsSchema } from '../../src/finetuning/images/image-finetune-options.js';
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
  const keep = { folder: at('keep'), keepModels: true };
  const first = await compareOnnx(model, calibration, test1, options, keep);
  const error = await rejectionOf(() => compareOnnx(model, calibration, test2, options, keep), 'run-mismatch');
  expect(error.message).toMatch(/evaluation was .*, now /);
  const truth = await compareOnnx(model, calibration, test2, options, { folder: at('temporary'), keepModels: false });
  const forced = await compareOnnx(model, calibration, test2, { ...options, force: true }, keep);
  const loss = ({ rows }: typeof first) => rows[0]!.evaluation.parity!.logits!.meanRelative;
  expect(loss(forced)).toBe(loss(truth));
  expect(loss(forced)).not.toBe(loss(first));
  const again = await compareOnnx(model, calibration, test2, options, keep);
  expect(again.rows[0]!.seconds).toBe(forced.rows[0]!.seconds);
  // A row without its model is none.
  rmSync(join(keep.folder, 'magnitude-0.5.onnx'));
  const anew = await compareOnnx(model, calibration, test2, options, keep);
  expect(anew.rows[0]!.seconds).not.toBe(forced.rows[0]!.seconds);
});

test('goes on with the engine of its rows where none is asked for, and refuses another one', async () => {
  const keep = { folder: at('engines'), keepModels: true };
  const first = await compareOnnx(model, calibration, test1, options, keep);
  const again = await compareOnnx(model, calibration, test1, { ...options, engine: 'auto' }, keep);
  expect(again.rows[0]!.seconds).toBe(first.rows[0]!.seconds);
  const other = { ...options, engine: 'reference' as const };
  const error = await rejectionOf(() => compareOnnx(model, calibration, test1, other, keep), 'run-mismatch');
  expect(error.message).toMatch(/engine was "?wasm"?, now "?reference/);
});

test('a row that fails is told with its reason, and the others go on', async () => {
  const keep = { folder: at('failing'), keepModels: true };
  // The sparsest levels do not reach it.
  const both = { ...options, allocate: 'errors' as const, sparsities: [0.999, 0.5] };
  const events: string[] = [];
  const { rows, failed } = await compareOnnx(model, calibration, test1, both, keep, ({ kind }) => events.push(kind));
  expect(rows.map(({ sparsity }) => sparsity)).toEqual([0.5]);
  expect(failed).toEqual([
    { method: 'magnitude', sparsity: 0.999, reason: expect.stringMatching(/0\.999 is above the sparsest levels/) },
  ]);
  expect(events.filter((kind) => kind !== 'run' && kind !== 'evaluated')).toEqual(['dense', 'failed', 'row']);
  expect(readdirSync(keep.folder).sort()).toEqual(['magnitude-0.5.json', 'magnitude-0.5.onnx']);
});

test('rows of other settings are refused before anything is computed', async () => {
  const events: string[] = [];
  const other = { ...options, sparsities: [0.7, 0.5], samples: 9 };
  await rejectionOf(
    () =>
      compareOnnx(model, calibration, test1, other, { folder: at('failing'), keepModels: true }, ({ kind }) =>
        events.push(kind),
      ),
    'run-mismatch',
  );
  expect(events).toEqual([]);
});

describe('fine-tuning', () => {
  const labels = Int32Array.from({ length: 32 }, (_, i) => i % 5);
  const tuned = { ...options, finetune: 3, finetuneBatch: 8, finetuneRate: 1e-3, flip: true };
  const labelled = { ...calibration, labels };
  const place = { folder: at('tuned'), keepModels: true };

  test('all models alike, the dense one too, as by hand', async () => {
    const events: string[] = [];
    const { dense, rows } = await compareOnnx(model, labelled, test1, tuned, place, (event) => {
      if (event.kind === 'tuned') events.push(event.name);
      if (event.kind === 'row') events.push(event.row.method);
    });
    expect(events).toEqual(['dense', 'magnitude', 'magnitude-0.5']);
    const cosine = ({ parity }: ImageEvaluation) => parity?.logits?.cosine;
    for (const { evaluation, tuned: after } of [dense, ...rows]) {
      expect(after).toMatchObject({ resumed: false, seconds: expect.any(Number) });
      expect(cosine(after!.evaluation)).not.toBe(cosine(evaluation));
    }
    const before = openOnnx(at('tuned/magnitude-0.5.onnx'));
    const own = {
      steps: 3,
      batch: 8,
      microBatch: 32,
      learningRate: 1e-3,
      teacherWeight: 0,
      threads: 1,
      engine: 'wasm',
    };
    const images = { training: { source: calibration.source, labels }, preprocessing };
    const by = { ...images, augmentation: { flip: true, shift: 0 } };
    await finetuneOnnx(before, undefined, by, at('by-hand.onnx'), imageFinetuneOptionsSchema.parse(own));
    expect(readFileSync(at('tuned/magnitude-0.5-tuned.onnx'))).toEqual(readFileSync(at('by-hand.onnx')));
  });

  test('goes on from what is there, and refuses what is there of other settings', async () => {
    const kinds: string[] = [];
    const again = await compareOnnx(model, labelled, test1, tuned, place, ({ kind }) => kinds.push(kind));
    expect(kinds.filter((kind) => kind !== 'evaluated')).toEqual(['dense', 'row']);
    expect(again.rows[0]?.tuned).toBeDefined();
    const without = await compareOnnx(model, calibration, test1, { ...options, flip: true }, place);
    expect(without.rows[0]?.tuned).toBeUndefined();
    for (const [other, what] of [
      [{ ...labelled, labels: labels.toReversed() }, 'labels'],
      [calibration, 'a teacher alone'],
    ] as const) {
      const refused = await rejectionOf(() => compareOnnx(model, other, test1, tuned, place), 'run-mismatch');
      expect(refused.message, what).toContain('finetuning was');
    }
  });

  test('imitates the dense model where the images have no classes, in a folder that is left empty of models', async () => {
    const folder = at('temporary-tuned');
    const { rows } = await compareOnnx(model, calibration, test1, tuned, { folder, keepModels: false });
    expect(rows[0]?.tuned?.evaluation.parity?.logits?.cosine).toBeGreaterThan(0);
    expect(readdirSync(folder).filter((name) => !name.endsWith('.json'))).toEqual([]);
  });

  test('a class that the model does not know is refused before anything is compressed', async () => {
    const kinds = new Set<string>();
    const wrong = { ...calibration, labels: labels.map(() => 10) };
    const anywhere = { folder: at('refused'), keepModels: true };
    const error = await rejectionOf(
      () => compareOnnx(model, wrong, test1, tuned, anywhere, ({ kind }) => kinds.add(kind)),
      'option-out-of-range',
    );
    expect(error.message).toContain('class 10');
    expect(kinds).not.toContain('run');
  });
});
