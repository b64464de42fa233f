import { join } from 'node:path';
import { expect, it } from 'vitest';
import { lastProducts, partLosses } from '../../../src/compression/matching/part-losses.js';
import { collectParameters } from '../../../src/finetuning/collect-parameters.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { Compute, mirrorLower } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { zeros } from '../../../src/linalg/matrix.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import { llamaKernels } from '../../../src/models/llama/wasm-kernels.js';
import type { OperationContext } from '../../../src/training/operations/context.js';
import { newTrainedValues } from '../../../src/training/trained-values.js';
import { wasmTrainingKernels } from '../../../src/training/wasm-kernels.js';
import { randomMatrix } from '../../helpers.js';

const compute = new Compute(createEngine('wasm'));
const context: OperationContext = {
  compute,
  forward: llamaKernels(compute),
  backward: wasmTrainingKernels(compute.arena),
  addGradient: () => expect.unreachable(),
};

it.each(['attention', 'mlp'] as const)(
  'where the %s part with its biases gives what is wanted, its last product is the least squares solution',
  (part) => {
    const folder = join(import.meta.dirname, '../../models/golden/llama-linear-rope-biases');
    const model = new LlamaModel(openCheckpoint(folder));
    const seqLen = 8;
    const { config, rotary, blocks } = collectParameters(model, seqLen, { train: ['norms'], keepZeros: false }).model;
    const block = blocks[1]!;
    const last = block.linear[lastProducts[part]];
    expect(last.bias?.value.data.some((value) => Math.abs(value) > 1e-3)).toBe(true);
    const { rows: out, columns } = last.weight.value;
    const trained = newTrainedValues(new Float32Array(0), [], 1, 0);
    const share = { trained, microBatch: 1, part, shape: { config, layer: 1, rotary, seqLen }, weights: block };
    const input = randomMatrix(seqLen, config.hiddenSize, 1);
    const target = zeros(seqLen, config.hiddenSize);
    partLosses(context, share, [{ input, output: target }], undefined, 0);
    const statistics = { gram: zeros(columns, columns), cross: zeros(out, columns) };
    partLosses(context, { ...share, statistics: [statistics] }, [{ input, target }], undefined, 0);
    mirrorLower(statistics.gram);
    const expected = zeros(out, columns);
    compute.gemm(last.weight.value, statistics.gram, expected);
    const largest = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    // fp32 sums of some ten products.
    expect(statistics.cross.data).toBeAllclose(expected.data, { atol: 1e-5 * largest });
  },
);
