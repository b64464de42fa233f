import { statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { OnnxModel } from '../../src/formats/onnx/model.js';
import { ModelProtoSchema, StringStringEntryProtoSchema } from '../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx, parseOnnx } from '../../src/formats/onnx/reader.js';
import { floatTensor } from '../../src/formats/onnx/tensor.js';
import { serializeOnnx, writeOnnx } from '../../src/formats/onnx/writer.js';
import { findLayers } from '../../src/models/cnn/find-layers.js';
import { rewriteModel } from '../../src/models/cnn/rewrite.js';
import { inspectOnnx, onnxInspectionText } from '../../src/report/onnx-inspection.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { buildModel } from '../formats/onnx/build-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { fillRandom } from '../helpers.js';
import { randomFactors } from '../models/cnn/layers-fixture.js';

const folder = temporaryFolder();
const random = (name: string, shape: readonly number[], seed: number) =>
  floatTensor(name, 'F32', shape, fillRandom(new Float32Array(shape.reduce((a, b) => a * b)), seed));

function denseModel(size: number | string) {
  return parseOnnx(
    buildModel({
      nodes: [
        { opType: 'Conv', name: 'depth', input: ['x', 'd'], output: ['u'], attributes: { group: 12 } },
        { opType: 'Conv', name: 'conv', input: ['u', 'w'], output: ['y'], attributes: { strides: [2, 2] } },
      ],
      initializers: [random('d', [12, 1, 3, 3], 1), random('w', [96, 12, 3, 3], 2)],
      inputs: { x: ['n', 12, size, size] },
      outputs: ['y'],
    }),
    'model.onnx',
  );
}

/** Puts tensors of 1 KB and more into a file beside the model. */
function writeWithExternalData(model: OnnxModel, path: string): void {
  const message = fromBinary(ModelProtoSchema, serializeOnnx(model));
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of message.graph!.initializer.filter(({ rawData }) => rawData.byteLength >= 1024)) {
    const entries = { location: `${basename(path)}.data`, offset, length: tensor.rawData.byteLength };
    pieces.push(tensor.rawData);
    offset += tensor.rawData.byteLength;
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = 1;
    tensor.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
  }
  writeFileSync(`${path}.data`, Buffer.concat(pieces));
  writeFileSync(path, toBinary(ModelProtoSchema, message));
}

/** Written with the convolution as 96 x 32 times 32 x 108. */
function compressed(format: 'packed' | 'plain', size: number | string = 15, externalData = false) {
  const model = denseModel(size);
  const [layer] = findLayers(model).layers;
  const layers = new Map([[layer!, { weight: randomFactors(layer!, 32).weight }]]);
  const { model: rewritten, weights } = rewriteModel(model, { layers }, { format });
  const path = join(folder, `${format}.onnx`);
  if (externalData) writeWithExternalData(rewritten, path);
  else writeOnnx(rewritten, path);
  return { path, nonzeros: weights.reduce((sum, weight) => sum + weight.nonzeros, 0) };
}

// 13 x 13 behind the depthwise convolution, 6 x 6 behind the other one.
const [depthwise, entries, positions] = [12 * 9 * 169, 96 * 108, 36];

test.each(['packed', 'plain'] as const)(
  'layers, bytes and multiply-adds of a compressed model (%s)',
  async (format) => {
    const { path, nonzeros } = compressed(format);
    const result = await inspectOnnx(openOnnx(path));
    expect(result).toMatchObject({
      format: 'onnx',
      opset: 17,
      fileBytes: statSync(path).size,
      entries,
      nonzeros,
      density: nonzeros / entries,
      multiplyAdds: {
        input: [1, 12, 15, 15],
        dense: depthwise + entries * positions,
        stored: depthwise + nonzeros * positions,
      },
    });
    expect(result.layers).toMatchObject([
      { name: 'conv', rows: 96, columns: 108, nonzeros, multiplyAdds: { dense: entries * positions } },
    ]);
    expect(result.kept).toMatchObject([{ name: 'depth', multiplyAdds: depthwise }]);
    expect(result.kept[0]!.reason).toContain('depthwise');
    if (format === 'plain') expect(result.bytes).toBe(4 * (96 * 32 + 32 * 108));
    else expect(result.bytes).toBeLessThan(4 * (96 * 32 + 32 * 108));
    const text = onnxInspectionText(result);
    expect(text).toMatch(
      /^conv +96x108 +\d+ \+ \d+ +\d+\.\d % .* B 32x12x3x3 (packed|plain) F32, A 96x32x1x1 (packed|plain) F32$/m,
    );
    expect(text).toMatch(/^depth +Conv +108 .* depthwise/m);
  },
);

test('open sizes: no multiply-adds unless a shape is given; external data count', async () => {
  const { path, nonzeros } = compressed('plain', 'h', true);
  const model = openOnnx(path);
  const result = await inspectOnnx(model);
  expect(result.multiplyAdds).toBeUndefined();
  expect(result.layers[0]!.multiplyAdds).toBeUndefined();
  expect(onnxInspectionText(result)).toContain('--input-shape');
  expect(result.fileBytes).toBeGreaterThan(statSync(path).size + 4 * 32 * 108);
  const given = await inspectOnnx(model, [1, 12, 15, 15]);
  expect(given.multiplyAdds!.stored).toBe(depthwise + nonzeros * positions);
  await rejectionOf(() => inspectOnnx(model, [1, 12, 2 ** 14, 2 ** 14]), 'option-out-of-range');
  const error = await rejectionOf(() => inspectOnnx(model, [1, 13, 15, 15]), 'shape-mismatch');
  expect(error.hint).toContain('--input-shape');
});

test('a model without a layer', async () => {
  const path = join(folder, 'relu.onnx');
  writeFileSync(
    path,
    buildModel({ nodes: [{ opType: 'Relu', input: ['x'], output: ['y'] }], inputs: { x: [1, 3] }, outputs: ['y'] }),
  );
  const result = await inspectOnnx(openOnnx(path));
  expect(result).toMatchObject({ layers: [], kept: [], entries: 0, bitsPerWeight: 0, density: 0 });
  expect(onnxInspectionText(result)).toContain('0 layers');
});

test('what onnxruntime cannot run, and models of two inputs, are told without multiply-adds', async () => {
  const path = join(folder, 'unrunnable.onnx');
  const inspected = async (inputs: Record<string, number[]>, node: { opType: string; input: string[] }) => {
    const conv = { opType: 'Conv', name: 'conv', input: ['x', 'w'], output: ['h'] };
    const initializers = [random('w', [8, 4, 3, 3], 1)];
    writeFileSync(
      path,
      buildModel({ nodes: [conv, { ...node, output: ['y'] }], initializers, inputs, outputs: ['y'] }),
    );
    const result = await inspectOnnx(openOnnx(path));
    expect(result.layers).toMatchObject([{ name: 'conv', nonzeros: 8 * 36, multiplyAdds: undefined }]);
    expect(result.multiplyAdds).toBeUndefined();
    return onnxInspectionText(result);
  };
  const unknown = await inspected({ x: [1, 4, 8, 8] }, { opType: 'Unheard', input: ['h'] });
  expect(unknown).toMatch(/^multiply-adds are not counted: .* no operator .*Unheard/m);
  const two = await inspected({ x: [1, 4, 8, 8], z: [1, 8, 6, 6] }, { opType: 'Add', input: ['h', 'z'] });
  expect(two).toMatch(/^multiply-adds are not counted: the model has 2 inputs \(x, z\)/m);
  expect(two).not.toContain('--input-shape');
});
