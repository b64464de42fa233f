import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { collectParameters } from '../../src/finetuning/collect-parameters.js';
import { trainedKinds } from '../../src/finetuning/finetune-options.js';
import { keptBytes, runSequences, type TeacherModel } from '../../src/finetuning/language-model.js';
import { openCheckpoint } from '../../src/formats/open-checkpoint.js';
import { SafetensorsFile } from '../../src/formats/safetensors/reader.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { LlamaModel } from '../../src/models/llama/model.js';
import { rotaryTable } from '../../src/models/llama/rope.js';
import { llamaKernels } from '../../src/models/llama/wasm-kernels.js';
import type { OperationContext } from '../../src/training/operations/context.js';
import { pullBack } from '../../src/training/parameter.js';
import { wasmTrainingKernels } from '../../src/training/wasm-kernels.js';
import '../helpers.js';

const compute = new Compute(createEngine('wasm'));
const families = ['llama3-rope', 'llama-linear-rope-biases', 'mistral-sliding-window', 'qwen2-mixed-windows', 'qwen3'];
/** Those of golden/make_goldens.py. */
const teacherShare = 0.75;
const mixed = ['llama-linear-rope-biases', 'qwen3'];

/** fp32 against float64: sums of some hundred products, relative to the largest entry of a tensor. */
const tolerance = 2e-5;

const contextOf = (addGradient: OperationContext['addGradient']): OperationContext => ({
  compute,
  forward: llamaKernels(compute),
  backward: wasmTrainingKernels(compute.arena),
  addGradient,
});

/** The same model with its matrices times 0.9. */
function teacherOf(model: LlamaModel, seqLen: number): TeacherModel {
  const { config } = model;
  const embedding = model.readEmbedding();
  const head = model.readHead(embedding);
  const blocks = Array.from({ length: config.layers }, (_, layer) => model.readBlock(layer));
  const matrices = [
    embedding,
    head.projection,
    ...blocks.flatMap(({ linear }) => Object.values(linear).map(({ weight }) => weight)),
  ];
  for (const { data } of new Set(matrices)) for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) * 0.9;
  return { config, rotary: rotaryTable(config.rope, config.headSize, seqLen), embedding, blocks, head };
}

function setUp(name: string) {
  const folder = join(import.meta.dirname, '../models/golden', name);
  const { ids } = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as { ids: number[] };
  const seqLen = ids.length / 2;
  const sequences = [Uint32Array.from(ids.slice(0, seqLen)), Uint32Array.from(ids.slice(seqLen))];
  const model = new LlamaModel(openCheckpoint(folder));
  const trainee = collectParameters(model, seqLen, { train: [...trainedKinds], keepZeros: false });
  return { model, sequences, seqLen, trainee, scale: 1 / (2 * (seqLen - 1)) };
}

describe.each(families)('gradients of %s', (name) => {
  const { model, sequences, seqLen, trainee, scale } = setUp(name);
  const golden = new SafetensorsFile(join(import.meta.dirname, 'golden', `${name}.safetensors`));

  const gradientsOf = (teacher: TeacherModel | undefined, limit = keptBytes) => {
    const gradients = new Float32Array(trainee.values.length);
    const context = contextOf((parameter, gradient) =>
      pullBack(compute, trainee.values, gradients, parameter, gradient),
    );
    const settings = { scale, teacherWeight: teacherShare, ...(teacher && { teacher }) };
    return { gradients, sums: runSequences(context, trainee.model, sequences, settings, true, limit) };
  };

  const expectGolden = (gradients: Float32Array, kind: string): void => {
    for (const { tensor, offset, count } of trainee.stored) {
      const expected = golden.readMatrix(`${kind}/${tensor}`);
      const largest = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(gradients.subarray(offset, offset + count), tensor).toBeAllclose(expected.data, {
        atol: tolerance * largest,
      });
    }
  };

  it("of the cross-entropy are PyTorch's", () => {
    const { gradients, sums } = gradientsOf(undefined);
    expect(sums.crossEntropy * scale).toBeCloseTo(golden.readMatrix('losses').data[0] as number, 5);
    expectGolden(gradients, 'cross_entropy');
  });

  if (mixed.includes(name)) {
    it("of a mix with the divergence from a teacher are PyTorch's", () => {
      const { gradients, sums } = gradientsOf(teacherOf(model, seqLen));
      expect(sums.divergence * scale).toBeCloseTo(golden.readMatrix('losses').data[1] as number, 5);
      expectGolden(gradients, 'mixed');
    });
  }

  it('are the same when blocks are computed again', () => {
    expect(gradientsOf(undefined, 0).gradients).toHaveSameBits(gradientsOf(undefined).gradients);
  });

  it('are not needed for losses', () => {
    const context = contextOf(() => expect.unreachable());
    const settings = { scale: 0, teacherWeight: 0 };
    const sums = runSequences(context, trainee.model, sequences, settings, false, keptBytes);
    expect(sums.crossEntropy).toBe(gradientsOf(undefined).sums.crossEntropy);
  });
});
