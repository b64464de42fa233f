import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImages } from '../../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../../src/calibration/images/options.js';
import { compareOnnx } from '../../../src/comparison/compare-onnx.js';
import { cnnCompareOptionsSchema } from '../../../src/comparison/onnx-comparison.js';
import { compressOnnx, OnnxCompressor } from '../../../src/compression/cnn/compress-onnx.js';
import { type CnnCompressOptions, cnnCompressOptionsSchema } from '../../../src/compression/cnn/options.js';
import { evaluateImages } from '../../../src/evaluation/evaluate-images.js';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { idxBytes } from '../../calibration/images/idx-bytes.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { imagePixels, imageSide, type ResidualDescription, residualModel } from './residual-fixture.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const unsigned = 8;
writeFileSync(at('images'), idxBytes(unsigned, [96, imageSide, imageSide], imagePixels(96, 3)));
writeFileSync(at('other'), idxBytes(unsigned, [64, imageSide, imageSide], imagePixels(64, 4)));
const preprocessing = preprocessingSchema.parse({ mean: [0.5], std: [0.25] });
const calibration = { source: openImages(at('images')), preprocessing };
const other = openImages(at('other'));

let models = 0;
function model(description: ResidualDescription = {}) {
  const path = at(`model-${models++}.onnx`);
  writeFileSync(path, residualModel(description));
  return openOnnx(path);
}

function optionsOf(options: Partial<CnnCompressOptions>): CnnCompressOptions {
  return cnnCompressOptionsSchema.parse({ engine: 'wasm', threads: 1, ...options });
}

/** Relative error of the outputs on images that were not calibrated on. */
async function errorOn(path: string, source: ReturnType<typeof model>): Promise<number> {
  const { parity } = await evaluateImages(openOnnx(path), other, { preprocessing, against: source });
  return parity!.logits!.meanRelative;
}

describe.each<[string, ResidualDescription]>([
  ['batch normalisation', {}],
  ['batch normalisation folded away', { folded: true }],
  ['groups', { groups: 2 }],
  ['a fixed batch size', { batch: 5 }],
])('%s', (name, description) => {
  const source = model(description);
  const base = `${name.replaceAll(' ', '-')}`;

  test('compressed by auto: smaller, within its budget, outputs near to the source', async () => {
    const out = at(`${base}-auto.onnx`);
    const result = await compressOnnx(source, calibration, out, optionsOf({ sparsity: 0.5 }));
    expect(result.nonzeros).toBeLessThanOrEqual(0.5 * result.entries);
    expect(result.multiplyAdds).toBeLessThan(result.denseMultiplyAdds);
    expect(result.images).toBe(96);
    expect(statSync(out).size).toBe(result.bytes);
    expect(result.layers.map((layer) => layer.name)).toEqual(['first', 'second', 'third', 'head']);
    expect(await errorOn(out, source)).toBeLessThan(0.1);
  });

  test.each(['double-sparse', 'obc', 'magnitude', 'low-rank'] as const)('%s', async (method) => {
    const out = at(`${base}-${method}.onnx`);
    const options = optionsOf({ method, sparsity: 0.6, allocate: 'uniform', format: 'plain' });
    const result = await compressOnnx(source, calibration, out, options);
    expect(result.layers.every((layer) => layer.method === method)).toBe(true);
    for (const { rows, columns, nonzeros } of result.layers)
      expect(nonzeros).toBeLessThanOrEqual(Math.floor(0.4 * rows * columns + 1e-6));
    expect(Number.isFinite(await errorOn(out, source))).toBe(true);
  });
});

test('the same settings give the same bytes; sparsity 0 keeps everything', async () => {
  const source = model();
  const outs = await Promise.all(
    ['a.onnx', 'b.onnx'].map(async (name) => {
      await compressOnnx(source, calibration, at(name), optionsOf({ sparsity: 0.5 }));
      return readFileSync(at(name));
    }),
  );
  expect(outs[0]!.equals(outs[1]!)).toBe(true);
  const kept = await compressOnnx(source, calibration, at('kept.onnx'), optionsOf({ sparsity: 0 }));
  expect(kept.layers.map(({ method }) => method)).toEqual([undefined, undefined, undefined, undefined]);
  expect(await errorOn(at('kept.onnx'), source)).toBe(0);
});

test('a budget of multiply-adds is kept', async () => {
  const source = model();
  const options = optionsOf({ sparsity: 0.6, cost: 'multiply-adds' });
  const result = await compressOnnx(source, calibration, at('flops.onnx'), options);
  expect(result.multiplyAdds).toBeLessThanOrEqual(0.4 * result.denseMultiplyAdds);
});

test('a file that exists is refused, and replaced with force; the source never', async () => {
  const source = model();
  const out = at('exists.onnx');
  writeFileSync(out, 'something');
  await rejectionOf(() => compressOnnx(source, calibration, out, optionsOf({})), 'file-exists');
  await rejectionOf(() => compressOnnx(source, calibration, source.path, optionsOf({ force: true })), 'file-exists');
  await compressOnnx(source, calibration, out, optionsOf({ force: true, method: 'magnitude', allocate: 'uniform' }));
  expect(statSync(out).size).toBeGreaterThan(1000);
});

test('damaged weights are named, and nothing is written', async () => {
  const out = at('damaged-out.onnx');
  const error = await rejectionOf(
    () => compressOnnx(model({ damaged: true }), calibration, out, optionsOf({})),
    'non-finite-value',
  );
  expect(error.message).toContain('second');
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes('damaged-out'))).toEqual([]);
});

test('models without a layer, patterns without a match', async () => {
  const path = at('relu.onnx');
  writeFileSync(
    path,
    buildModel({
      nodes: [{ opType: 'Relu', input: ['x'], output: ['y'] }],
      inputs: { x: ['n', 1, 8, 8] },
      outputs: ['y'],
    }),
  );
  await rejectionOf(() => compressOnnx(openOnnx(path), calibration, at('no.onnx'), optionsOf({})), 'file-unsupported');
  await rejectionOf(
    () => compressOnnx(model(), calibration, at('no.onnx'), optionsOf({ include: ['nothing'] })),
    'option-out-of-range',
  );
  const partly = await compressOnnx(model(), calibration, at('partly.onnx'), optionsOf({ exclude: ['head', 'first'] }));
  expect(partly.layers.map(({ name }) => name)).toEqual(['second', 'third']);
  expect(partly.kept.map(({ name, reason }) => [name, reason])).toEqual([
    ['first', 'not included'],
    ['head', 'not included'],
  ]);
});

test('a comparison has a row for each method and sparsity, dense first', async () => {
  const source = model();
  const options = cnnCompareOptionsSchema.parse({
    engine: 'wasm',
    threads: 1,
    methods: ['auto', 'magnitude'],
    sparsities: [0.5, 0.8],
  });
  const images = { source: other, labels: new Int32Array(64), batchSize: undefined };
  const place = { folder: at('kept'), keepModels: true };
  const { dense, rows } = await compareOnnx(source, calibration, images, options, place);
  expect(rows.map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual([
    'auto 0.5',
    'magnitude 0.5',
    'auto 0.8',
    'magnitude 0.8',
  ]);
  expect(dense.evaluation.parity!.logits!.cosine).toBeCloseTo(1, 6);
  for (const row of rows) expect(row.evaluation.accuracy!.images).toBe(64);
  const error = (i: number): number => rows[i]!.evaluation.parity!.logits!.meanRelative;
  expect(error(0)).toBeLessThan(error(1));
  const files = rows.flatMap(({ method, sparsity }) => [`${method}-${sparsity}.json`, `${method}-${sparsity}.onnx`]);
  expect(readdirSync(at('kept')).sort()).toEqual(files.sort());
  // Rows that are there are taken, with the seconds that they took.
  const again = await compareOnnx(source, calibration, images, options, place);
  expect(again.rows.map(({ seconds }) => seconds)).toEqual(rows.map(({ seconds }) => seconds));
  const others = { ...options, samples: 10 };
  await rejectionOf(() => compareOnnx(source, calibration, images, others, place), 'run-mismatch');
});

test('how many images a batch has changes what is gathered by rounding alone', async () => {
  const source = model();
  const gathered = async (batchSize?: number) => {
    const compressor = await OnnxCompressor.open(source, { ...calibration, batchSize }, optionsOf({ positions: 16 }));
    const { resources } = compressor;
    const inputs = (await Promise.all(resources.waves.flat().map((each) => resources.denseInputsOf(each)))).flat(2);
    await compressor.close();
    return { inputs, costs: [...compressor.costs.unitCosts.values()], batch: compressor.resources.images.batchSize };
  };
  const expected = await gathered();
  expect(expected.batch).toBe(32);
  for (const batchSize of [1, 7]) {
    const { inputs, costs, batch } = await gathered(batchSize);
    expect(batch).toBe(batchSize);
    expect(costs).toEqual(expected.costs);
    for (const [i, { covariance }] of inputs.entries())
      expect(covariance).toBeAllclose(expected.inputs[i]!.covariance, { rtol: 1e-5, atol: 1e-6 });
  }
  const fixed = model({ batch: 5 });
  await rejectionOf(
    () => compressOnnx(fixed, { ...calibration, batchSize: 4 }, at('no.onnx'), optionsOf({})),
    'option-out-of-range',
  );
  // (72 + 2 x 576) weights at 64 positions, 40 at one.
  const result = await compressOnnx(fixed, calibration, at('fixed.onnx'), optionsOf({ sparsity: 0 }));
  expect(result.denseMultiplyAdds).toBe(64 * (72 + 2 * 576) + 40);
});

test('where the inputs of layers are large, a batch has fewer images', async () => {
  const path = at('large-inputs.onnx');
  const conv = (name: string, input: string, output: string) => ({
    opType: 'Conv',
    name,
    input: [input, name],
    output: [output],
  });
  writeFileSync(
    path,
    buildModel({
      nodes: [conv('a', 'x', 'h'), conv('b', 'h', 'y')],
      initializers: [
        floatTensor('a', 'F32', [8, 1, 1, 2], new Float32Array(16).fill(1)),
        floatTensor('b', 'F32', [8, 8, 1, 1], new Float32Array(64).fill(1)),
      ],
      inputs: { x: ['n', 1, 'h', 'w'] },
      outputs: ['y'],
    }),
  );
  const side = 1024;
  writeFileSync(at('large'), idxBytes(unsigned, [1, side, side], new Uint8Array(side * side)));
  const large = { source: openImages(at('large')), preprocessing };
  const compressor = await OnnxCompressor.open(openOnnx(path), large, optionsOf({}));
  const bytes = 4 * side * (side + 8 * (side - 1));
  expect(compressor.costs.inputBytes).toBe(bytes);
  expect(compressor.resources.images.batchSize).toBe(Math.floor(2 ** 28 / bytes));
  await compressor.close();
});
