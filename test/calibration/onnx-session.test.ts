import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OnnxSession } from '../../src/calibration/onnx-session.js';
import { DoubleSparseError } from '../../src/errors.js';
import { mutationsOf } from '../formats/mutations.js';
import { fillRandom } from '../helpers.js';
import { sharedData } from '../smollm2-fixture.js';
import { rejectionOf } from './expect-rejection.js';
import { type OneNode, oneNodeModel, onnxTypes } from './onnx-bytes.js';

const open = (node: OneNode) => OnnxSession.open(oneNodeModel(node), { path: 'one.onnx' });
const relu: OneNode = { operator: 'Relu', from: 'float', to: 'float', dims: ['n', 3] };
const x = { dims: [2, 3], data: Float32Array.of(-1, 2, -3, 4, -5, 6) };

test('inputs and outputs are described, a batch is run, closing twice is fine', async () => {
  const session = await open(relu);
  expect(session.inputs).toEqual([{ name: 'x', type: 'float32', dims: ['n', 3] }]);
  expect(session.outputs).toEqual([{ name: 'y', type: 'float32', dims: ['n', 3] }]);
  const { y } = await session.run({ x });
  expect(y!.dims).toEqual([2, 3]);
  expect([...y!.data]).toEqual([0, 2, 0, 4, 0, 6]);
  const shared = { dims: [1, 3], data: new Float32Array(new SharedArrayBuffer(12)) };
  expect([...(await session.run({ x: shared }, ['y'])).y!.data]).toEqual([0, 0, 0]);
  await session.close();
  await session.close();
  expect((await rejectionOf(() => session.run({ x }), 'file-unsupported')).message).toContain('closed');
});

test.each(['float16', 'double'] as const)('%s inside, fp32 outside', async (type) => {
  const session = await open({ operator: 'Neg', from: type, to: type, dims: ['n', 3] });
  const { y } = await session.run({ x: { dims: [1, 3], data: Float32Array.of(0.5, -1024, 6e-8) } });
  expect(y!.data).toBeAllclose([-0.5, 1024, -6e-8], { rtol: 0.01 });
  await session.close();
});

test.each(['bool', 'int64'] as const)('outputs of %s become numbers', async (to) => {
  const session = await open({ operator: 'Cast', from: 'float', to, dims: ['n', 3], castTo: onnxTypes[to] });
  const { y } = await session.run({ x });
  expect([...y!.data]).toEqual(to === 'bool' ? [1, 1, 1, 1, 1, 1] : [-1, 2, -3, 4, -5, 6]);
  await session.close();
});

test('outputs of text are refused', async () => {
  const session = await open({ operator: 'Cast', from: 'float', to: 'string', dims: ['n', 3], castTo: 8 });
  expect((await rejectionOf(() => session.run({ x }), 'file-unsupported')).message).toContain('string');
  await session.close();
});

describe('refused models', () => {
  const refusal = (node: Partial<OneNode>) => rejectionOf(() => open({ ...relu, ...node }), 'file-unsupported');

  test('operators that nobody knows are named', async () => {
    expect((await refusal({ operator: 'Frobnicate' })).data.operator).toContain('Frobnicate');
    expect((await refusal({ operator: 'Frobnicate', domain: 'ai.acme' })).data.operator).toContain('Frobnicate');
    // Of the standard, in a type for which there is no kernel.
    expect((await refusal({ operator: 'Relu', operatorSet: 14, from: 'int64', to: 'int64' })).data.operator).toContain(
      'Relu',
    );
  });

  test('bytes that are no model', async () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(1, 2, 3, 4), oneNodeModel(relu).subarray(0, 40)])
      await rejectionOf(() => OnnxSession.open(bytes, { path: 'bad.onnx' }), 'file-malformed');
  });

  test('no mutation ends in anything but a typed error', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(mutationsOf(oneNodeModel(relu)), async (mutated) => {
        try {
          const session = await OnnxSession.open(mutated, { path: 'mutated.onnx' });
          await session.run({ x });
          await session.close();
        } catch (error) {
          expect(error).toBeInstanceOf(DoubleSparseError);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('threads out of range', async () => {
    for (const threads of [0, 1.5, 1e6])
      await rejectionOf(
        () => OnnxSession.open(oneNodeModel(relu), { path: 'one.onnx', threads }),
        'option-out-of-range',
      );
  });
});

test('feeds that do not fit are refused by name', async () => {
  const session = await open(relu);
  await rejectionOf(() => session.run({}), 'unknown-name');
  expect((await rejectionOf(() => session.run({ x, z: x }), 'unknown-name')).hint).toContain('x');
  await rejectionOf(() => session.run({ x }, ['z']), 'unknown-name');
  const error = await rejectionOf(() => session.run({ x: { ...x, dims: [3, 2] } }), 'shape-mismatch');
  expect(error.message).toContain('[n,3], got [3,2]');
  await rejectionOf(() => session.run({ x: { ...x, dims: [3, 3] } }), 'shape-mismatch');
  await session.close();
  const integers = await open({ operator: 'Identity', from: 'int64', to: 'int64', dims: ['n', 3] });
  await rejectionOf(() => integers.run({ x }), 'file-unsupported');
  await integers.close();
});

const models = sharedData('fmnist');
test.skipIf(!models.path)('a real network: threads change nothing but rounding', async () => {
  const bytes = readFileSync(`${models.path}/resnet-fmnist.onnx`);
  const images = { dims: [4, 1, 28, 28], data: fillRandom(new Float32Array(4 * 784), 1) };
  const logits = await Promise.all(
    [1, 2].map(async (threads) => {
      const session = await OnnxSession.open(bytes, { path: 'resnet-fmnist.onnx', threads });
      const { logits } = await session.run({ image: images });
      await session.close();
      return logits!.data;
    }),
  );
  expect(logits[1]!).toBeAllclose(logits[0]!, { rtol: 1e-4, atol: 1e-4 });
});
