import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadContender } from '../../../src/evaluation/speed/load-contender.js';
import { openOnnxModel } from '../../../src/evaluation/speed/onnx-model.js';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { openModel } from '../../../src/models/llama/open-model.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { root } from '../../cli/run-dsf.js';
import '../../helpers.js';

const checkpoint = join(root, 'test/models/golden/llama-linear-rope-biases');
const file = join(import.meta.dirname, 'golden/tiny-with-past.onnx');
const llama = openModel(checkpoint);
const { config } = llama;

test('an export with its cache has the logits of the checkpoint, before and behind a reset', async () => {
  const ids = [5, 9, 40, 7, 33, 12];
  const oracle = llama.logits(ids, new Compute(createEngine('wasm')));
  const model = await openOnnxModel(file, config, 1);
  for (let turn = 0; turn < 2; turn++) {
    model.reset();
    const logits: number[] = [];
    for (const part of [ids.slice(0, 3), ids.slice(3, 4), ids.slice(4)])
      logits.push(...(await model.extend(Uint32Array.from(part))));
    expect(Float32Array.from(logits)).toBeAllclose(oracle, { rtol: 1e-4, atol: 1e-4 });
  }
});

test('rounds are timed', async () => {
  const settings = { threads: 1, prompts: [4, 8], tokens: 2 };
  const loaded = await loadContender({ kind: 'onnxruntime', path: checkpoint, file }, settings);
  const { prompts, perToken } = await loaded.round();
  expect(prompts).toHaveLength(2);
  expect(Math.min(perToken, ...prompts)).toBeGreaterThan(0);
});

test('another export is refused with a hint', async () => {
  const error = await rejectionOf(() => openOnnxModel(file, { ...config, layers: 1 }, 1), 'file-unsupported');
  expect(error.data.unknown).toContain('past_key_values.1.key');
  await rejectionOf(() => openOnnxModel(file, { ...config, layers: 9 }, 1), 'file-unsupported');
});
