import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { embedded } from '../../../src/compression/embedded.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import type { Prompt } from '../../../src/runtime/generation/encode-prompt.js';
import { type GenerateOptions, type GenerationResult, generate } from '../../../src/runtime/generation/generate.js';
import { openGenerationTokenizer } from '../../../src/runtime/generation/generation-tokenizer.js';
import { TextGenerator } from '../../../src/runtime/generation/text-generator.js';
import type { TokenModel } from '../../../src/runtime/token-model.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { RecomputingModel, ResidentLlama } from './recomputing-model.js';
import { ScriptedModel } from './scripted-model.js';
import { byteLevelTokenizer, endId, forGeneration } from './tiny-tokenizers.js';

const tokenizer = forGeneration(byteLevelTokenizer());
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

async function run(
  model: TokenModel,
  prompt: Prompt = 'p',
  options: GenerateOptions = {},
): Promise<GenerationResult & { pieces: string[] }> {
  const pieces: string[] = [];
  const generator = generate(model, tokenizer, prompt, options);
  for (;;) {
    const next = await generator.next();
    if (next.done) return { ...next.value, pieces };
    pieces.push(next.value);
  }
}

describe('greedy continuations of transformers', () => {
  const golden = JSON.parse(readFileSync(new URL('golden/generation.json', import.meta.url), 'utf8')) as {
    prompt: string;
    promptIds: number[];
    settings: { repetition_penalty?: number };
    ids: number[];
    text: string;
  }[];
  test('as the library gives it', async () => {
    const model = await TextGenerator.load(embedded.model, { threads: 1, engine: 'wasm', capacity: 128 });
    const [{ prompt, ids, text } = { prompt: '', ids: [], text: '' }] = golden;
    let pieces = '';
    for await (const piece of model.generate(prompt, { maxTokens: ids.length })) pieces += piece;
    expect(pieces).toBe(text);
    await model.close();
    await rejectionOf(() => TextGenerator.load('no such model'), 'not-found');
  });

  const llama = new ResidentLlama(openCheckpoint(embedded.model));
  afterAll(() => llama.checkpoint.close());

  test.each(golden)('$prompt $settings', async ({ prompt, promptIds, settings, ids, text }) => {
    const model = new RecomputingModel(llama);
    const sotu = openGenerationTokenizer(llama.checkpoint);
    const repetitionPenalty = settings.repetition_penalty ?? 1;
    const generator = generate(model, sotu, prompt, { maxTokens: ids.length, repetitionPenalty });
    let written = '';
    let next = await generator.next();
    for (; !next.done; next = await generator.next()) written += next.value;
    expect(next.value).toMatchObject({ ids, text, promptTokens: promptIds.length, reason: 'length' });
    expect(written).toBe(text);
  });
});

describe('ends', () => {
  test('with an end token, which is not part of the text', async () => {
    const result = await run(new ScriptedModel([...bytes('Hello'), endId, ...bytes('more')]));
    expect(result).toMatchObject({ text: 'Hello', reason: 'end', ids: bytes('Hello'), promptTokens: 1 });
    expect(result.pieces).toEqual(['H', 'e', 'l', 'l', 'o']);
    expect(await run(new ScriptedModel([endId]))).toMatchObject({ text: '', ids: [], reason: 'end' });
  });

  test('after maxTokens, 256 if not said', async () => {
    expect(await run(new ScriptedModel([97]), 'p', { maxTokens: 3 })).toMatchObject({ text: 'aaa', reason: 'length' });
    expect((await run(new ScriptedModel([97]))).ids).toHaveLength(256);
  });

  test('without a step of the model that nobody sees', async () => {
    const model = new ScriptedModel([97]);
    await run(model, 'p', { maxTokens: 3 });
    expect(model.calls).toEqual([1, 1, 1]);
  });

  test('where the cache is full, behind the token that its last logits give', async () => {
    for (const [capacity, text] of [
      [5, 'aaaaa'],
      [1, 'a'],
    ] as const) {
      expect(await run(new ScriptedModel([97], { capacity }))).toMatchObject({ text, reason: 'cache' });
    }
  });

  test('at a stop string, which is not part of the text', async () => {
    const result = await run(new ScriptedModel(bytes('one\n\nUser: two')), 'p', { stop: ['never', '\n\nUser:'] });
    expect(result).toMatchObject({ text: 'one', reason: 'stop' });
    expect(result.pieces).toEqual(['o', 'ne']);
  });

  test('with what was held back, if no stop string came of it', async () => {
    const stop = ['\n\nUser:'];
    const ended = await run(new ScriptedModel([...bytes('one\n\nUse'), endId]), 'p', { stop });
    expect(ended).toMatchObject({ text: 'one\n\nUse', reason: 'end' });
    const cut = await run(new ScriptedModel(bytes('one\n\nUser:')), 'p', { stop, maxTokens: 8 });
    expect(cut).toMatchObject({ text: 'one\n\nUse', reason: 'length' });
  });

  test('at a signal, with what there is', async () => {
    const controller = new AbortController();
    const generator = generate(new ScriptedModel([97]), tokenizer, 'p', { signal: controller.signal });
    expect(await generator.next()).toEqual({ value: 'a', done: false });
    controller.abort();
    let next = await generator.next();
    while (!next.done) next = await generator.next();
    expect(next.value).toMatchObject({ reason: 'interrupted' });
    expect(next.value.ids.length).toBeLessThan(3);
  });

  test('at a signal within a long prompt', async () => {
    const model = new ScriptedModel([97]);
    const controller = new AbortController();
    setImmediate(() => controller.abort());
    const result = await run(model, 'p'.repeat(9000), { signal: controller.signal });
    expect(result).toMatchObject({ reason: 'interrupted', text: '', ids: [], firstTokenSeconds: undefined });
    expect(model.position).toBeLessThan(9000);
  });
});

describe('text', () => {
  test('pieces are those of the whole, cut at the first stop string', async () => {
    const unit = fc.constantFrom('a', 'b', 'é', '😀', '\n');
    const stops = fc.array(fc.string({ unit, minLength: 1, maxLength: 4 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(fc.string({ unit, maxLength: 30 }), stops, async (text, stop) => {
        const { pieces, reason, ...result } = await run(new ScriptedModel([...bytes(text), endId]), 'p', { stop });
        const begins = stop.map((each) => text.indexOf(each)).filter((at) => at >= 0);
        const expected = begins.length > 0 ? text.slice(0, Math.min(...begins)) : text;
        expect(result.text).toBe(expected);
        expect(pieces.join('')).toBe(expected);
        expect(reason).toBe(begins.length > 0 ? 'stop' : 'end');
        for (const piece of pieces) expect(() => encodeURIComponent(piece)).not.toThrow();
        expect(pieces).not.toContain('');
      }),
      { numRuns: 200 },
    );
  });

  test('a seed gives the same text again', async () => {
    const sample = async (seed: number) =>
      (await run(new ScriptedModel([97]), 'p', { temperature: 3, seed, maxTokens: 20 })).ids;
    expect(await sample(4)).toEqual(await sample(4));
    expect(await sample(4)).not.toEqual(await sample(5));
  });
});

describe('the model', () => {
  test('is used again after a generation that was abandoned', async () => {
    const model = new ScriptedModel([...bytes('Hello'), endId]);
    for await (const piece of generate(model, tokenizer, 'p')) {
      expect(piece).toBe('H');
      break;
    }
    expect(await run(model, 'other')).toMatchObject({ text: 'Hello', promptTokens: 5 });
  });

  test('sees a long prompt in parts', async () => {
    const model = new ScriptedModel([97, endId]);
    await run(model, 'p'.repeat(1200));
    expect(model.calls).toEqual([512, 512, 176, 1]);
  });

  test('that is used by two at a time is noticed', async () => {
    const model = new ScriptedModel([97]);
    const first = generate(model, tokenizer, 'one');
    await first.next();
    await generate(model, tokenizer, 'second').next();
    await rejectionOf(() => first.next(), 'run-in-use');
  });

  test('that fails, fails the generation', async () => {
    const model = new ScriptedModel([97]);
    model.extend = () => Promise.reject(new Error('broken'));
    await expect(run(model)).rejects.toThrow('broken');
  });
});

describe('refused', () => {
  test.each<GenerateOptions>([
    { temperature: -1 },
    { temperature: Number.NaN },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { minP: -0.1 },
    { repetitionPenalty: 0 },
    { maxTokens: 0 },
    { stop: [''] },
    { stop: ['\ud83d'] },
    { seed: 0.5 },
  ])('%j', async (options) => {
    const [option = ''] = Object.keys(options);
    const error = await rejectionOf(() => run(new ScriptedModel([97]), 'p', options), 'option-out-of-range');
    expect(error.message).toContain(option);
  });

  test('prompts that do not fit the cache, or the vocabulary', async () => {
    const model = new ScriptedModel([97], { capacity: 4 });
    expect((await rejectionOf(() => run(model, 'ppppp'), 'option-out-of-range')).message).toMatch(
      /5 tokens.*room for 4/,
    );
    await rejectionOf(() => run(model, Uint32Array.of(400)), 'option-out-of-range');
    await rejectionOf(() => run(model, ''), 'option-out-of-range');
  });
});
