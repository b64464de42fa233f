import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TextTokenizer } from '../../src/calibration/tokenizer.js';
import { consecutiveWindows } from '../../src/calibration/windows.js';
import { type PerplexityProgress, perplexity } from '../../src/evaluation/perplexity.js';
import { openCheckpoint } from '../../src/formats/open-checkpoint.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { LlamaModel } from '../../src/models/llama/model.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { memoryCheckpoint, smallConfig } from '../models/llama/memory-checkpoint.js';
import { sharedData } from '../smollm2-fixture.js';

const engine = { name: 'wasm' } as const;
const ids = Uint32Array.from({ length: 95 }, (_, i) => (i * 7) % 50);

describe('a small model', () => {
  const model = new LlamaModel(memoryCheckpoint());

  test('windows, tokens and progress are counted', async () => {
    const progress: PerplexityProgress[] = [];
    const onProgress = (each: PerplexityProgress): unknown => progress.push(each);
    const result = await perplexity(model, consecutiveWindows(ids, { seqLen: 16 }), { engine, threads: 2, onProgress });
    expect(result).toMatchObject({ windows: 5, seqLen: 16, tokens: 75, standardErrorFrom: 'windows' });
    expect(result.perplexity).toBeCloseTo(Math.exp(result.meanLoss), 10);
    expect(result.windowLosses).toHaveLength(5);
    expect(progress.map(({ block }) => block)).toEqual([0, 1, 2, 3]);
  });

  test('depends on threads by rounding alone', async () => {
    const text = consecutiveWindows(ids, { seqLen: 16 });
    const one = await perplexity(model, text, { engine, threads: 1 });
    const three = await perplexity(model, text, { engine, threads: 3 });
    expect(three.perplexity / one.perplexity).toBeCloseTo(1, 6);
  });

  test('windows beyond the context are refused', async () => {
    const text = consecutiveWindows(ids, { seqLen: 65 });
    const error = await rejectionOf(() => perplexity(model, text, { engine }), 'option-out-of-range');
    expect(error.data).toMatchObject({ value: 65, contextLength: 64 });
  });

  test('tokens of another vocabulary are refused', async () => {
    const text = consecutiveWindows(
      ids.map((id) => id + 1),
      { seqLen: 16 },
    );
    await rejectionOf(() => perplexity(model, text, { engine }), 'option-out-of-range');
  });
});

describe('a damaged model', () => {
  const damaged = (name: string, value: number): LlamaModel => {
    const checkpoint = memoryCheckpoint({ ...smallConfig, num_hidden_layers: 4 });
    checkpoint.values.get(name)!.fill(value);
    return new LlamaModel(checkpoint);
  };
  const text = consecutiveWindows(ids, { seqLen: 16 });

  test('NaN: the tensor is named', async () => {
    const model = damaged('model.layers.2.self_attn.v_proj.weight', Number.NaN);
    const error = await rejectionOf(() => perplexity(model, text, { engine, threads: 2 }), 'non-finite-value');
    expect(error.data.name).toBe('model.layers.2.self_attn.v_proj.weight');
  });

  test('overflow: the first bad block is named', async () => {
    const model = damaged('model.layers.2.self_attn.o_proj.weight', 3e38);
    const error = await rejectionOf(() => perplexity(model, text, { engine, threads: 2 }), 'non-finite-value');
    expect(error.data).toMatchObject({ block: 2, sequence: 0 });
  });
});

const sotu = sharedData('demo');
describe.skipIf(!sotu.path)('sotu-m', () => {
  test('perplexity of transformers', { timeout: 120_000 }, async () => {
    const { perplexity: golden } = JSON.parse(readFileSync(`${sotu.path}/golden.json`, 'utf8'))['sotu-m'];
    const checkpoint = openCheckpoint(`${sotu.path}/sotu-m`);
    const tokenizer = new TextTokenizer(checkpoint.tokenizerFiles());
    const { seqLen, windows } = golden;
    const tokens = tokenizer.encodeFirst(readFileSync(`${sotu.path}/sotu-test.txt`, 'utf8'), windows * seqLen);
    const text = consecutiveWindows(tokens, { seqLen, windows });
    const result = await perplexity(new LlamaModel(checkpoint), text, { engine: chooseEngine() });
    expect(result.windows).toBe(windows);
    expect(Math.abs(result.perplexity / golden.value - 1)).toBeLessThan(5e-4);
    checkpoint.close();
  });
});
