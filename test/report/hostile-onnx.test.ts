import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import type { NodeDescription } from '../../src/formats/onnx/node.js';
import { openOnnx, parseOnnx } from '../../src/formats/onnx/reader.js';
import { floatTensor, rawTensor } from '../../src/formats/onnx/tensor.js';
import { inspectOnnx } from '../../src/report/onnx-inspection.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { classifierModel } from '../evaluation/classifier-fixture.js';
import { mutationsOf } from '../formats/mutations.js';
import { buildModel, elementTypes } from '../formats/onnx/build-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';

const path = join(temporaryFolder(), 'hostile.onnx');

async function inspectBytes(bytes: Uint8Array): Promise<unknown> {
  writeFileSync(path, bytes);
  return inspectOnnx(openOnnx(path));
}

test('damaged anyhow, a model is refused by a typed error or inspected', { timeout: 60_000 }, async () => {
  writeFileSync(path, '');
  const property = fc.asyncProperty(mutationsOf(classifierModel({ second: 'positive' })), async (bytes) => {
    try {
      await inspectOnnx(parseOnnx(bytes, path));
    } catch (error) {
      if (!(error instanceof DoubleSparseError)) throw new Error('not a DoubleSparseError', { cause: error });
    }
  });
  await fc.assert(property, { numRuns: 400 });
  expect(process.resourceUsage().maxRSS / 1e3).toBeLessThan(1000);
});

const ones = (name: string, shape: readonly number[]) =>
  floatTensor(name, 'F32', shape, new Float32Array(shape.reduce((a, b) => a * b)).fill(1));
const conv = (attributes: NodeDescription['attributes'] = {}): NodeDescription => ({
  opType: 'Conv',
  name: 'c',
  input: ['x', 'w'],
  output: ['y'],
  attributes,
});
const lie = (shape: readonly number[]) => rawTensor('w', elementTypes.float, shape, new Uint8Array(64));
const x = [1, 2, 8, 8] as const;

test.each<[string, Parameters<typeof buildModel>[0]]>([
  [
    'a weight of more values than any file',
    { nodes: [conv()], initializers: [lie([2 ** 31, 2 ** 31, 3, 3])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'a weight of 64 GB in 64 bytes',
    { nodes: [conv()], initializers: [lie([2 ** 17, 2 ** 17, 1, 1])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'a weight of negative sizes',
    { nodes: [conv()], initializers: [lie([-4, -2, 3, 3])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'strides backwards',
    { nodes: [conv({ strides: [-1, -1] })], initializers: [ones('w', [4, 2, 3, 3])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'channels that the weight does not have',
    { nodes: [conv()], initializers: [ones('w', [4, 3, 3, 3])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'an image smaller than the kernel',
    { nodes: [conv()], initializers: [ones('w', [4, 2, 9, 9])], inputs: { x }, outputs: ['y'] },
  ],
  [
    'a tensor that nothing makes',
    {
      nodes: [{ ...conv(), input: ['nothing', 'w'] }],
      initializers: [ones('w', [4, 2, 3, 3])],
      inputs: { x },
      outputs: ['y'],
    },
  ],
  [
    'a circle',
    {
      nodes: [
        { ...conv(), input: ['z', 'w'] },
        { opType: 'Relu', input: ['y'], output: ['z'] },
      ],
      initializers: [ones('w', [4, 2, 3, 3])],
      inputs: { x },
      outputs: ['y'],
    },
  ],
  [
    'an input of a terabyte',
    {
      nodes: [conv()],
      initializers: [ones('w', [4, 2, 3, 3])],
      inputs: { x: [1, 2, 2 ** 19, 2 ** 19] },
      outputs: ['y'],
    },
  ],
])('%s', async (_, description) => {
  const error = await rejectionOf(
    () => inspectBytes(buildModel(description)),
    ...(['file-malformed', 'file-unsupported', 'option-out-of-range'] as const),
  );
  expect(error.message).toContain(path);
  expect(error.hint).toBeDefined();
});

test.each([0, 2 ** 40])('%i groups: kept, with the reason', async (group) => {
  const initializers = [ones('w', [4, 2, 3, 3])];
  const bytes = buildModel({ nodes: [conv({ group })], initializers, inputs: { x }, outputs: ['y'] });
  expect(await inspectBytes(bytes)).toMatchObject({
    layers: [],
    kept: [{ reason: `4 outputs are not ${group} groups` }],
  });
});

test('a weight that is not finite is named', async () => {
  const weight = rawTensor('w', elementTypes.float, [4, 2, 3, 3], new Uint8Array(288).fill(255));
  const bytes = buildModel({ nodes: [conv()], initializers: [weight], inputs: { x }, outputs: ['y'] });
  expect((await rejectionOf(() => inspectBytes(bytes), 'non-finite-value')).message).toContain('the weight of c');
});

test('a file that shrinks behind our back, or is none', async () => {
  writeFileSync(path, classifierModel());
  const model = openOnnx(path);
  truncateSync(path, 10);
  // It is in memory whole.
  expect((await inspectOnnx(model)).layers).toHaveLength(1);
  await rejectionOf(() => inspectBytes(new Uint8Array(0)), 'file-malformed');
  await rejectionOf(() => inspectBytes(Buffer.from('<html>404</html>')), 'file-malformed');
});
