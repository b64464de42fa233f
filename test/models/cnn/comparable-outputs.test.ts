import { expect, test } from 'vitest';
import { makeNode } from '../../../src/formats/onnx/node.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { comparableOutputs } from '../../../src/models/cnn/comparable-outputs.js';
import { buildModel } from '../../formats/onnx/build-model.js';

const nodes = [
  makeNode({ opType: 'Relu', input: ['x'], output: ['relu'] }),
  makeNode({ opType: 'Shape', input: ['relu'], output: ['size'] }),
  makeNode({ opType: 'ConstantOfShape', input: ['size'], output: ['grid'] }),
  // Places of a grid follow from the size of the images alone.
  makeNode({ opType: 'NonZero', input: ['grid'], output: ['places'] }),
  makeNode({ opType: 'Cast', input: ['places'], output: ['fixed'], attributes: { to: 1 } }),
  makeNode({ opType: 'NonZero', input: ['relu'], output: ['found'] }),
  makeNode({ opType: 'Cast', input: ['found'], output: ['moving'], attributes: { to: 1 } }),
  makeNode({ opType: 'Shape', input: ['moving'], output: ['count'] }),
  makeNode({ opType: 'TopK', input: ['relu', 'k'], output: ['largest', 'where'] }),
  makeNode({ opType: 'GatherElements', input: ['relu', 'where'], output: ['gathered'] }),
];

test('floats are compared, what is chosen by values and other types are not', () => {
  const names = ['relu', 'fixed', 'found', 'moving', 'count', 'largest', 'where', 'gathered', 'size'];
  const model = parseOnnx(buildModel({ nodes, inputs: { x: ['n', 4] }, outputs: names }), 'm.onnx');
  const integers = ['found', 'count', 'where', 'size'];
  const outputs = names.map((name) => ({ name, type: integers.includes(name) ? 'int64' : 'float32', dims: [] }));
  const { compared, others } = comparableOutputs(model, outputs);
  expect(compared).toEqual(['relu', 'fixed', 'largest']);
  expect(Object.fromEntries(others.map(({ name, reason }) => [name, reason]))).toEqual({
    found: 'what it holds is chosen by NonZero',
    moving: 'what it holds is chosen by NonZero',
    count: 'what it holds is chosen by NonZero',
    where: 'what it holds is chosen by TopK',
    gathered: 'what it holds is chosen by TopK',
    size: 'it is of type int64',
  });
});
