import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImages } from '../../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../../src/calibration/images/options.js';
import { compressOnnx } from '../../../src/compression/cnn/compress-onnx.js';
import { type CnnCompressOptions, cnnCompressOptionsSchema } from '../../../src/compression/cnn/options.js';
import type { FloatType } from '../../../src/formats/dtype.js';
import { makeNode, type NodeDescription } from '../../../src/formats/onnx/node.js';
import type { TensorProto } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor, rawTensor } from '../../../src/formats/onnx/tensor.js';
import { elementCount } from '../../../src/linalg/element-count.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { idxBytes } from '../../calibration/images/idx-bytes.js';
import { buildModel, type ModelDescription } from '../../formats/onnx/build-model.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { fillRandom } from '../../helpers.js';
import { imagePixels, imageSide } from './residual-fixture.js';

const folder = temporaryFolder();
const unsigned = 8;
writeFileSync(join(folder, 'images'), idxBytes(unsigned, [64, imageSide, imageSide], imagePixels(64, 3)));
const calibration = { source: openImages(join(folder, 'images')), preprocessing: preprocessingSchema.parse({}) };

let runs = 0;
/** Compresses a model of gray 8 x 8 images `x`. */
function compress(description: Omit<ModelDescription, 'inputs'>, options: Partial<CnnCompressOptions>) {
  const path = join(folder, `model-${runs++}.onnx`);
  writeFileSync(path, buildModel({ ...description, inputs: { x: ['n', 1, imageSide, imageSide] } }));
  const settings = cnnCompressOptionsSchema.parse({ engine: 'wasm', threads: 1, allocate: 'uniform', ...options });
  return compressOnnx(openOnnx(path), calibration, `${path}.out`, settings);
}

let seed = 1;
function weight(name: string, shape: readonly number[], scale = 1, type: FloatType = 'F32'): TensorProto {
  const values = fillRandom(new Float32Array(elementCount(shape)), seed++);
  return floatTensor(
    name,
    type,
    shape,
    values.map((value) => scale * value),
  );
}

function node(opType: string, input: string[], output: string, attributes: NodeDescription['attributes'] = {}) {
  return makeNode({ opType, name: output, input, output: [output], attributes });
}

const conv = (input: string[], output: string, group = 1) => node('Conv', input, output, { pads: [1, 1, 1, 1], group });

describe('a bias that is computed', () => {
  const initializers = [
    weight('w', [8, 1, 3, 3], 0.5),
    weight('b', [8], 6),
    floatTensor('one', 'F32', [1], Float32Array.of(1)),
  ];
  const normalization = [
    weight('scale', [8]),
    weight('shift', [8]),
    weight('mean', [8]),
    floatTensor('variance', 'F32', [8], new Float32Array(8).fill(1)),
  ];
  const model = (computed: boolean, normalized: boolean) => ({
    initializers: [...initializers, ...(normalized ? normalization : [])],
    nodes: [
      ...(computed ? [node('Mul', ['b', 'one'], 'bias')] : []),
      conv(['x', 'w', computed ? 'bias' : 'b'], 'h'),
      ...(normalized ? [node('BatchNormalization', ['h', 'scale', 'shift', 'mean', 'variance'], 'n')] : []),
      node('Relu', [normalized ? 'n' : 'h'], 'y'),
    ],
    outputs: ['y'],
  });

  test.each([
    ['layer', false],
    ['layer', true],
    ['dense', false],
    ['dense', true],
  ] as const)('is not fitted a second time: sequential %s, batch normalisation %s', async (sequential, normalized) => {
    const options = { method: 'admm', sparsity: 0.1, sequential } as const;
    const constant = await compress(model(false, normalized), options);
    const computed = await compress(model(true, normalized), options);
    // Without a constant to choose the error is larger, but of the same kind.
    expect(computed.parity.y!.maximumRelative).toBeLessThan(3 * constant.parity.y!.maximumRelative + 0.02);
  });
});

describe('groups with budgets of different sizes', () => {
  const model = {
    initializers: [weight('w1', [2, 1, 1, 1]), weight('w2', [16, 1, 3, 3], 0.3)],
    nodes: [node('Conv', ['x', 'w1'], 'h'), conv(['h', 'w2'], 'y', 2)],
    outputs: ['y'],
  };

  // 67 of 144 weights: one group gets 33, one 34, of which a rank takes 17.
  test.each(['low-rank', 'block-diagonal', 'sparse-dictionary', 'double-sparse'] as const)('%s', async (method) => {
    const { layers } = await compress(model, { method, sparsity: 1 - 67 / 144 });
    expect(layers.find(({ name }) => name === 'y')!.nonzeros).toBeLessThanOrEqual(67);
  });
});

describe('weights stored in half precision and cast to fp32', () => {
  const types = ['F16', 'BF16'] as const;
  const model = (type: FloatType, layers: number) => {
    const names = Array.from({ length: layers }, (_, i) => `w${i}`);
    return {
      initializers: names.map((name, i) => weight(name, [8, i === 0 ? 1 : 8, 3, 3], i === 0 ? 0.5 : 0.2, type)),
      nodes: [
        ...names.map((name) => node('Cast', [name], `${name}.f`, { to: 1 })),
        ...names.flatMap((name, i) => [
          conv([i === 0 ? 'x' : `r${i - 1}`, `${name}.f`], `h${i}`),
          node('Relu', [`h${i}`], `r${i}`),
        ]),
      ],
      outputs: [`r${layers - 1}`],
    };
  };

  test.each(types.flatMap((type) => [[type, 2] as const, [type, 8] as const]))(
    '%s, %i layers: rounding is allowed for',
    async (type, layers) => {
      const options = { method: 'double-sparse', effort: 'fast', sparsity: 0.5, sequential: 'dense' } as const;
      const result = await compress(model(type, layers), options);
      expect(result.weights.every((each) => each.type === type)).toBe(true);
    },
  );
});

test.each(['packed', 'plain'] as const)('a model that is compressed already is refused at once: %s', async (format) => {
  const model = {
    initializers: [weight('w1', [32, 1, 3, 3], 0.5), weight('w2', [32, 32, 3, 3], 0.1)],
    nodes: [conv(['x', 'w1'], 'h'), node('Relu', ['h'], 'r'), conv(['r', 'w2'], 'y')],
    outputs: ['y'],
  };
  const options = { method: 'double-sparse', effort: 'fast', sparsity: 0.5, sequential: 'dense', format } as const;
  await compress(model, options);
  const path = join(folder, `model-${runs - 1}.onnx.out`);
  const settings = cnnCompressOptionsSchema.parse({ engine: 'wasm', threads: 1 });
  const unread = {
    ...calibration,
    source: {
      ...calibration.source,
      names: calibration.source.names,
      read: () => {
        throw new Error('an image was read');
      },
    },
  };
  const again = () => compressOnnx(openOnnx(path), unread, `${path}.again`, settings);
  expect((await rejectionOf(again, 'file-unsupported')).message).toContain('compressed already');
});

describe('outputs that cannot be compared value by value', () => {
  const integers = (name: string, values: readonly number[]) =>
    rawTensor(name, 7, [values.length], new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
  const initializers = [
    weight('w1', [8, 1, 3, 3], 0.5),
    weight('w2', [8, 8, 3, 3], 0.2),
    floatTensor('limit', 'F32', [1], Float32Array.of(0.3)),
    floatTensor('none', 'F32', [1], Float32Array.of(1e9)),
    integers('flat', [-1]),
  ];
  const nodes = [
    conv(['x', 'w1'], 'h'),
    node('Relu', ['h'], 'r'),
    conv(['r', 'w2'], 'y'),
    node('ArgMax', ['y'], 'class', { axis: 1 }),
    node('Greater', ['y', 'limit'], 'above'),
    node('NonZero', ['above'], 'places'),
    node('Cast', ['places'], 'floats', { to: 1 }),
    node('Greater', ['y', 'none'], 'never'),
    node('Reshape', ['y', 'flat'], 'values'),
    node('Reshape', ['never', 'flat'], 'mask'),
    node('Compress', ['values', 'mask'], 'empty'),
  ];

  test.each([
    [['class'], 'errors'],
    [['places', 'floats', 'empty'], 'errors'],
    [['floats', 'y'], 'uniform'],
    [['class', 'y'], 'errors'],
  ] as const)('%s, allocate %s', async (outputs, allocate) => {
    const { parity, notCompared } = await compress(
      { initializers, nodes, outputs },
      { method: 'magnitude', sparsity: 0.5, allocate },
    );
    expect(Object.keys(parity)).toEqual(outputs.filter((name) => name === 'y'));
    expect(notCompared.map(({ name }) => name)).toEqual(outputs.filter((name) => name !== 'y'));
  });
});

describe.each(['F32', 'F16'] as const)('channels behind a batch normalisation without gain, %s', (type) => {
  const constant = (name: string, value: number, few = value) =>
    floatTensor(
      name,
      type,
      [8],
      Float32Array.from({ length: 8 }, (_, i) => (i < 4 ? few : value)),
    );
  const model = (gain: number) => ({
    elementType: type === 'F16' ? ('half' as const) : ('float' as const),
    initializers: [
      weight('w0', [8, 1, 3, 3], 0.5, type),
      weight('w1', [8, 8, 3, 3], 0.3, type),
      weight('w2', [8, 8, 3, 3], 0.3, type),
      constant('scale', 1, gain),
      constant('zero', 0),
      constant('one', 1),
    ],
    nodes: [
      conv(['x', 'w0'], 'a0'),
      node('Relu', ['a0'], 'a'),
      conv(['a', 'w1'], 'h'),
      node('BatchNormalization', ['h', 'scale', 'zero', 'zero', 'one'], 'n'),
      node('Add', ['n', 'a'], 'sum'),
      node('Relu', ['sum'], 'r'),
      conv(['r', 'w2'], 'y'),
    ],
    outputs: ['y'],
  });

  test.each([0, 1e-7])('gain %s: the budget goes to the others', async (gain) => {
    const { layers, weights, parity } = await compress(model(gain), { method: 'admm', sparsity: 0.5 });
    for (const { name, nonzeros } of layers)
      expect(nonzeros).toBe(weights.find(({ layer }) => layer.name === name)?.nonzeros);
    const { nonzeros } = layers.find(({ name }) => name === 'h')!;
    expect(nonzeros).toBe(288);
    expect(parity.y!.cosine).toBeGreaterThan(0.95);
  });
});
