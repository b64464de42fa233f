import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadEvaluation } from '../../src/calibration/load-windows.js';
import { consecutiveWindows } from '../../src/calibration/windows.js';
import { perplexity } from '../../src/evaluation/perplexity.js';
import { runtimePerplexity } from '../../src/evaluation/runtime-perplexity.js';
import { LlamaModel } from '../../src/models/llama/model.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { loadTokenModel } from '../../src/runtime/load-model.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { root } from '../cli/run-dsf.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { memoryCheckpoint } from '../models/llama/memory-checkpoint.js';
import { writePrunedModel } from '../runtime/pruned-model.js';

const engine = { name: 'wasm' } as const;
const open: { close(): Promise<void> }[] = [];
afterAll(() => Promise.all(open.map((model) => model.close())));

describe('a compressed model', async () => {
  const path = writePrunedModel(join(temporaryFolder(), 'pruned'));
  const checked = openModel(path);
  const options = { seqLen: 128, windows: 4 };
  const text = await loadEvaluation(checked.checkpoint, join(root, 'models/sotu-test.txt'), options);
  const { perplexity: expected } = await perplexity(checked, text, { engine });

  // Sums in another order; `indexed` and `stored` hold the same values. Chunks of four go through the kernels of
  // single tokens, longer ones through expanded tiles.
  test.each([
    { chunk: 4, representation: 'stored' },
    { chunk: 4, representation: 'indexed' },
    { chunk: 128, representation: 'stored' },
  ] as const)('has the perplexity of its expanded weights, %o', async (settings) => {
    const { model } = await loadTokenModel(checked, { threads: 2, engine: 'wasm', capacity: 128, ...settings });
    open.push(model);
    const counted: number[] = [];
    const result = await runtimePerplexity(model, text, { onProgress: (windows) => counted.push(windows) });
    expect(Math.abs(result.perplexity / expected - 1)).toBeLessThan(1e-4);
    expect(result).toMatchObject({ windows: 4, seqLen: 128, tokens: 4 * 127 });
    expect(counted).toEqual([1, 2, 3, 4]);
  });
});

test('windows beyond the cache and logits that are not finite are refused', async () => {
  const checkpoint = memoryCheckpoint();
  const text = consecutiveWindows(
    Uint32Array.from({ length: 32 }, (_, i) => i),
    { seqLen: 16 },
  );
  const short = await loadTokenModel(checkpoint, { threads: 1, engine: 'wasm', capacity: 8 });
  open.push(short.model);
  await rejectionOf(() => runtimePerplexity(short.model, text), 'option-out-of-range');
  checkpoint.values.get('model.layers.1.self_attn.o_proj.weight')!.fill(3e38);
  const damaged = await loadTokenModel(new LlamaModel(checkpoint), { threads: 1, engine: 'wasm' });
  open.push(damaged.model);
  await rejectionOf(() => runtimePerplexity(damaged.model, text), 'non-finite-value');
});
