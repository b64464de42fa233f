import { expect, test } from 'vitest';
import { type PlannedLayer, planCnn } from '../../../src/compression/cnn/planned-layer.js';
import { wavesOf } from '../../../src/compression/cnn/waves.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { errorOf } from '../../formats/expect-error.js';
import { buildModel } from '../../formats/onnx/build-model.js';

const layer = (columns: number, uses = 1, groups = 1) =>
  ({ layer: { columns, groups, uses: new Array(uses).fill({}) } }) as unknown as PlannedLayer;

test('layers are gathered together as far as their covariances fit, in their order', () => {
  // 400 bytes a use and group of 10 inputs.
  const layers = [layer(10), layer(10, 2), layer(10), layer(10, 1, 4), layer(20), layer(1)];
  expect(wavesOf(layers, 1200)).toEqual([[layers[0], layers[1]], [layers[2]], [layers[3]], [layers[4]], [layers[5]]]);
  expect(wavesOf(layers, 1e9)).toEqual([layers]);
  expect(wavesOf([], 1)).toEqual([]);
});

test('a layer whose covariance would not fit stays, with the reason', () => {
  const wide = 23_200;
  const model = (widths: readonly number[]) =>
    parseOnnx(
      buildModel({
        nodes: widths.map((_, i) => ({
          opType: 'MatMul',
          name: `m${i}`,
          input: [`x${i}`, `w${i}`],
          output: [`y${i}`],
        })),
        initializers: widths.map((width, i) => floatTensor(`w${i}`, 'F32', [width, 2], new Float32Array(2 * width))),
        inputs: Object.fromEntries(widths.map((width, i) => [`x${i}`, ['n', width]])),
        outputs: widths.map((_, i) => `y${i}`),
      }),
      'm.onnx',
    );
  const options = { include: ['*'], exclude: [] };
  const { layers, kept } = planCnn(model([wide, 4]), options);
  expect(layers.map(({ layer: { name } }) => name)).toEqual(['m1']);
  expect(kept).toMatchObject([
    { name: 'm0', reason: 'the covariance of its 23200 inputs would take 2.0 GiB, 2 are allowed' },
  ]);
  expect(errorOf(() => planCnn(model([wide]), options)).code).toBe('file-unsupported');
});
