import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeNode } from '../../src/formats/onnx/node.js';
import { floatTensor } from '../../src/formats/onnx/tensor.js';
import { buildModel } from '../formats/onnx/build-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { fillRandom } from '../helpers.js';
import { dsf } from './run-dsf.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const weight = (name: string, shape: number[], seed: number) =>
  floatTensor(name, 'F32', shape, fillRandom(new Float32Array(shape.reduce((a, b) => a * b, 1)), seed));
const relu = (input: string, output: string) => makeNode({ opType: 'Relu', input: [input], output: [output] });

/** A .npy file of version 1. */
function npy(name: string, shape: number[], seed: number): string {
  const values = fillRandom(new Float32Array(shape.reduce((a, b) => a * b, 1)), seed);
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }\n`;
  const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${header}`, 'latin1');
  head.writeUInt16LE(header.length, 8);
  writeFileSync(at(name), Buffer.concat([head, Buffer.from(values.buffer)]));
  return at(name);
}

writeFileSync(
  at('signal.onnx'),
  buildModel({
    nodes: [
      makeNode({ opType: 'Conv', name: 'first', input: ['x', 'w'], output: ['h'] }),
      relu('h', 'r'),
      makeNode({ opType: 'Conv', name: 'second', input: ['r', 'v'], output: ['y'] }),
    ],
    initializers: [weight('w', [8, 4, 3], 1), weight('v', [8, 8, 3], 2)],
    inputs: { x: ['n', 4, 32] },
    outputs: ['y'],
  }),
);
writeFileSync(
  at('rows.onnx'),
  buildModel({
    nodes: [
      makeNode({ opType: 'MatMul', name: 'first', input: ['x', 'w'], output: ['h'] }),
      relu('h', 'r'),
      makeNode({ opType: 'MatMul', name: 'second', input: ['r', 'v'], output: ['y'] }),
    ],
    initializers: [weight('w', [12, 16], 1), weight('v', [16, 8], 2)],
    inputs: { x: ['n', 12] },
    outputs: ['y'],
  }),
);
mkdirSync(at('pictures'));
const common = ['--engine', 'wasm', '--threads', '1', '--method', 'admm', '--allocate', 'uniform', '--sparsity', '0.3'];

describe.each([
  ['signal', [64, 4, 32], ['--mean', '0.1,0.2,0,0', '--std', '0.5,1,1,1']],
  ['rows', [64, 12], ['--scale', '2']],
])('%s', (name, shape, flags) => {
  const [data, other] = [npy(`${name}.npy`, shape, 3), npy(`${name}-test.npy`, shape, 4)];

  test('a network that takes no images is compressed and evaluated on an array as it is', () => {
    const out = at(`${name}-small.onnx`);
    const run = dsf('compress', at(`${name}.onnx`), '--out', out, '--calibration', data, ...common, ...flags);
    expect(run).toMatchObject({ status: 0, stdout: expect.stringContaining('verified') });
    const evaluation = ['--images', other, '--against', at(`${name}.onnx`), ...flags, '--json'];
    const { status, stdout } = dsf('eval', out, ...evaluation);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ images: 64, parity: { y: { cosine: expect.closeTo(1, 0) } } });
  });

  test.each([
    ['a folder of images', 1, /takes no images/, ['--calibration', at('pictures')]],
    [
      'changes that images alone have',
      2,
      /--crop, --flip: its entries are no images/,
      ['--calibration', data, '--crop', '4', '--flip'],
    ],
    [
      'an array of another shape',
      1,
      /is \[.*\], got/,
      ['--calibration', npy(`${name}-wrong.npy`, [8, ...shape.slice(1, -1), 9], 5)],
    ],
  ])('refuses %s', (_, status, message, more) => {
    const run = dsf('compress', at(`${name}.onnx`), '--out', at('no.onnx'), ...common, ...more);
    expect(run.stderr).toMatch(message);
    expect(run.status).toBe(status);
  });
});
