import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { OnnxModel } from '../../../src/formats/onnx/model.js';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import { keptMultiplyAdds, layerMultiplyAdds } from '../../../src/models/cnn/counts.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import type { CnnLayer } from '../../../src/models/cnn/layer.js';
import { type LayerWeight, rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import '../../helpers.js';
import { rapidocrFolder, rapidocrModels } from '../../rapidocr-fixture.js';
import { sharedData } from '../../smollm2-fixture.js';
import type { Fixture } from '../../wheel.js';
import { identityTimesWeight, sparse, weightTimesIdentity } from './layers-fixture.js';
import { runOnnx } from './run-onnx.js';

interface RealModel {
  readonly shape: readonly number[];
  readonly layers: number;
  /** Weights of those. */
  readonly parameters: number;
  readonly kept: number;
  readonly biases: number;
  readonly batchNormalizations: number;
  readonly multiplyAdds: number;
  readonly keptMultiplyAdds: number;
}

/** Counted by golden/count_layers.py. */
const models: Record<string, RealModel> = {
  'resnet-fmnist.onnx': {
    shape: [2, 1, 28, 28],
    layers: 16,
    parameters: 390_552,
    kept: 0,
    biases: 1,
    batchNormalizations: 15,
    multiplyAdds: 90_657_408,
    keptMultiplyAdds: 0,
  },
  'resnet-fmnist-folded.onnx': {
    shape: [2, 1, 28, 28],
    layers: 16,
    parameters: 390_552,
    kept: 0,
    biases: 16,
    batchNormalizations: 0,
    multiplyAdds: 90_657_408,
    keptMultiplyAdds: 0,
  },
  [rapidocrModels.detection]: {
    shape: [1, 3, 64, 96],
    layers: 48,
    parameters: 1_106_096,
    kept: 16,
    biases: 38,
    batchNormalizations: 2,
    multiplyAdds: 32_301_696,
    keptMultiplyAdds: 1_305_216,
  },
  [rapidocrModels.recognition]: {
    shape: [1, 3, 48, 96],
    layers: 33,
    parameters: 2_599_784,
    kept: 14,
    biases: 27,
    batchNormalizations: 6,
    multiplyAdds: 196_890_912,
    keptMultiplyAdds: 13_720_320,
  },
  [rapidocrModels.orientation]: {
    shape: [1, 3, 48, 192],
    layers: 43,
    parameters: 103_496,
    kept: 11,
    biases: 1,
    batchNormalizations: 24,
    multiplyAdds: 11_391_728,
    keptMultiplyAdds: 4_923_648,
  },
};

const ocr = rapidocrFolder();
if (ocr.reason !== undefined) console.log(`skipped: ${ocr.reason}`);
const fileOf = (name: string): Fixture => {
  if (name.startsWith('resnet')) return sharedData(`fmnist/${name}`);
  return ocr.path === undefined ? ocr : { path: join(ocr.path, name) };
};

describe.each(Object.entries(models))('%s', (name, expected) => {
  const { path, reason } = fileOf(name);
  if (path === undefined) {
    test.skip(`skipped: ${reason}`, () => {});
    return;
  }
  const model = openOnnx(path);
  const { layers, kept } = findLayers(model);
  const feeds = { [model.inputs[0]!.message.name]: expected.shape };
  const run = async (each: OnnxModel) => (await runOnnx(each, feeds))[model.outputs[0]!.message.name]!;
  const rewritten = (make: (layer: CnnLayer, weight: Matrix) => LayerWeight, format: 'plain' | 'packed') => {
    const replacements = layers.map(
      (layer) => [layer, { weight: make(layer, readLayerWeight(model, layer)) }] as const,
    );
    return rewriteModel(model, { layers: new Map(replacements) }, { format });
  };

  test('layers, and what is kept', async () => {
    const uses = layers.flatMap((layer) => layer.uses);
    expect({
      layers: layers.length,
      parameters: layers.reduce((sum, { rows, columns }) => sum + rows * columns, 0),
      kept: kept.length,
      biases: uses.filter(({ bias }) => bias.kind === 'constant').length,
      batchNormalizations: uses.filter(({ batchNormalization }) => batchNormalization).length,
    }).toEqual({
      layers: expected.layers,
      parameters: expected.parameters,
      kept: expected.kept,
      biases: expected.biases,
      batchNormalizations: expected.batchNormalizations,
    });
    for (const { reason: why } of kept) expect(why).toMatch(/depthwise|transposed convolutions/);
    const outputs = [...uses.map(({ output }) => output), ...kept.map(({ output }) => output)];
    const results = await runOnnx(model.withOutputs(outputs), feeds);
    const shapes = new Map(Object.entries(results).map(([tensor, { shape }]) => [tensor, shape]));
    const sum = (counts: readonly (number | undefined)[]) =>
      counts.reduce<number>((total, count) => total + (count ?? 0), 0);
    expect({
      multiplyAdds: sum(layers.map((layer) => layerMultiplyAdds(layer, layer.rows * layer.columns, shapes))),
      keptMultiplyAdds: sum(kept.map((layer) => keptMultiplyAdds(layer, shapes))),
    }).toEqual({ multiplyAdds: expected.multiplyAdds, keptMultiplyAdds: expected.keptMultiplyAdds });
  });

  test('two exact factors a layer leave the output', { timeout: 60_000 }, async () => {
    const shorter = (layer: CnnLayer, weight: Matrix) =>
      layer.rows / layer.groups < layer.columns
        ? identityTimesWeight(layer, weight)
        : weightTimesIdentity(layer, weight);
    const before = await run(model);
    const after = await run(rewritten(shorter, 'packed').model);
    expect(after.shape).toEqual(before.shape);
    // fp32 sums in another order.
    expect(after.values).toBeAllclose(before.values, { atol: 1e-5 });
  });

  test('packed sparse weights give the bits of plain ones in a third of the file', { timeout: 60_000 }, async () => {
    const make = (_: CnnLayer, weight: Matrix): LayerWeight => ({ kind: 'dense', weight: sparse(weight, 0.8) });
    const [plain, packed] = [rewritten(make, 'plain').model, rewritten(make, 'packed').model];
    expect((await run(packed)).values).toHaveSameBits((await run(plain)).values);
    const keptBytes = 4 * kept.reduce((sum, { parameters }) => sum + parameters, 0);
    const bytes = serializeOnnx(packed).byteLength - keptBytes;
    // The orientation model has many small layers, and half of its bytes are names and operators.
    const part = name === rapidocrModels.orientation ? 0.5 : 1 / 3;
    expect(bytes).toBeLessThan(part * (serializeOnnx(plain).byteLength - keptBytes));
    // What is not a layer is not encoded again.
    const rewrittenNodes = new Set(packed.nodes);
    const touched = new Set(layers.flatMap((layer) => layer.uses.map(({ node }) => node)));
    for (const node of model.nodes)
      if (!touched.has(node) && node.message.opType !== 'Constant')
        expect(rewrittenNodes.has(node), node.message.name).toBe(true);
  });
});
