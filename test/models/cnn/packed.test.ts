import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import type { FloatType } from '../../../src/formats/dtype.js';
import { openOnnx, parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { type RewriteOptions, rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { buildModel, type elementTypes } from '../../formats/onnx/build-model.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { randomMatrix } from '../../helpers.js';
import { sparse } from './layers-fixture.js';
import { runOnnx } from './run-onnx.js';

const x = [1, 33, 8, 8];

/** A convolution with 31 x 33 x 3 x 3 weights (no whole number of bytes of bits), of which that part is zero. */
function convolution(
  opset: number,
  sparsity: number,
  elementType: keyof typeof elementTypes = 'float',
  storedType: FloatType = elementType === 'half' ? 'F16' : 'F32',
) {
  const shape = [31, 33, 3, 3];
  const cast = elementType === 'float' && storedType !== 'F32';
  const model = parseOnnx(
    buildModel({
      nodes: [
        ...(cast ? [{ opType: 'Cast', input: ['w'], output: ['w32'], attributes: { to: 1 } }] : []),
        { opType: 'Conv', name: 'c', input: ['x', cast ? 'w32' : 'w'], output: ['y'] },
      ],
      initializers: [floatTensor('w', storedType, shape, new Float32Array(31 * 297))],
      inputs: { x },
      outputs: ['y'],
      elementType,
      opset,
    }),
    'convolution.onnx',
  );
  const layer = findLayers(model).layers[0]!;
  const weight = { kind: 'dense', weight: sparse(randomMatrix(31, 297, 9), sparsity) } as const;
  return (options: RewriteOptions) => rewriteModel(model, { layers: new Map([[layer, { weight }]]) }, options);
}

for (const elementType of ['float', 'half'] as const)
  test.each([11, 12, 13, 17, 21])(
    `packed weights of ${elementType} give the bits of plain ones at operator set %i`,
    async (opset) => {
      const rewritten = convolution(opset, 0.75, elementType);
      const [plain, packed] = [rewritten({ format: 'plain' }), rewritten({ format: 'packed' })];
      const [stored] = packed.weights;
      expect(stored).toMatchObject({
        format: 'packed',
        reason: undefined,
        roundingError: elementType === 'half' ? expect.any(Number) : 0,
      });
      expect(stored!.bytes).toBeLessThan(0.45 * plain.weights[0]!.bytes);
      const bytes = serializeOnnx(packed.model).byteLength;
      expect(bytes).toBeLessThan(0.5 * serializeOnnx(plain.model).byteLength);
      for (const level of ['disabled', 'basic', 'all'] as const) {
        const [a, b] = [plain, packed].map(({ model }) =>
          runOnnx(model, { x }, { level, half: elementType === 'half' }),
        );
        expect((await b!).y!.values, level).toHaveSameBits((await a!).y!.values);
      }
    },
  );

test('what is stored in fp16 and read in fp32 is off by its rounding', async () => {
  const rewritten = convolution(12, 0.75);
  const exact = await runOnnx(rewritten({ format: 'plain' }).model, { x });
  const inHalves = convolution(12, 0.75, 'float', 'F16');
  const [packed, plain] = [inHalves({ format: 'packed' }), inHalves({ format: 'plain' })];
  for (const { weights, model } of [packed, plain]) {
    expect(weights[0]).toMatchObject({ type: 'F16' });
    // Rounding to 11 bits: at most 2^-11, about half of that on average.
    expect(weights[0]!.roundingError).toBeGreaterThan(1e-4);
    expect(weights[0]!.roundingError).toBeLessThan(2 ** -11);
    // 75 products of numbers below 1, each off by 2^-12 at most.
    expect((await runOnnx(model, { x })).y!.values).toBeAllclose(exact.y!.values, { atol: 75 * 2 ** -12 });
  }
  expect(packed.weights[0]!.bytes).toBeLessThan(0.6 * plain.weights[0]!.bytes);
});

test('onnxruntime unpacks when it loads the model: what it runs is that of plain weights', async () => {
  const folder = temporaryFolder();
  const rewritten = convolution(12, 0.75);
  const operators: string[][] = [];
  const models = [
    rewritten({ format: 'plain' }),
    rewritten({ format: 'packed' }),
    convolution(12, 0.75, 'float', 'F16')({ format: 'packed' }),
  ];
  for (const { model } of models) {
    const optimizedModelFilePath = join(folder, `${operators.length}.onnx`);
    const session = await InferenceSession.create(serializeOnnx(model), {
      graphOptimizationLevel: 'basic',
      optimizedModelFilePath,
    });
    await session.release();
    operators.push(openOnnx(optimizedModelFilePath).nodes.map(({ message }) => message.opType));
  }
  expect(operators).toEqual([['Conv'], ['Conv'], ['Conv']]);
});

test('a weight that would not be smaller stays plain, and says why', async () => {
  const dense = convolution(12, 0)({ format: 'packed' });
  expect(dense.weights[0]).toMatchObject({ format: 'plain', reason: expect.stringContaining('not be smaller') });
  expect(dense.model.nodes).toHaveLength(1);
  expect([...dense.model.initializers.keys()]).toEqual(['c/W.weight']);
  const old = convolution(10, 0.75)({ format: 'packed' });
  expect(old.weights[0]).toMatchObject({ format: 'plain', reason: expect.stringContaining('11 is the first') });
});

test('a weight of zeros is packed too', async () => {
  const zeros = convolution(12, 1.1)({ format: 'packed' });
  expect(zeros.weights[0]).toMatchObject({ format: 'packed', nonzeros: 0 });
  expect((await runOnnx(zeros.model, { x })).y!.values.every((value) => value === 0)).toBe(true);
});
