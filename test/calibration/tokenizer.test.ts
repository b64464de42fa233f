import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TextTokenizer } from '../../src/calibration/tokenizer.js';
import { readTokenizerFiles } from '../../src/formats/tokenizer-files.js';
import { describeWith } from '../describe-with.js';
import { errorOf } from '../formats/expect-error.js';
import { sharedData } from '../smollm2-fixture.js';

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const smollm2 = sharedData('smollm2');
const sotu = sharedData('demo/sotu-m');

describeWith(smollm2.reason, 'SmolLM2', () => {
  const tokenizer = new TextTokenizer(readTokenizerFiles(smollm2.path ?? ''));
  const golden = json(`${smollm2.path}/golden.json`);

  test('ids of the golden samples', () => {
    for (const { text, ids } of golden.samples) expect([...tokenizer.encode(text)]).toEqual(ids);
  });

  test('ids decode to the text again', () => {
    for (const { text, ids } of golden.samples) expect(tokenizer.decode(ids)).toBe(text);
  });

  test('the first ids of a long text are those of the whole', () => {
    const text = readFileSync(`${sharedData('wikitext2/test.txt').path}`, 'utf8').slice(0, 200_000);
    const whole = tokenizer.encode(text);
    expect([...whole.slice(0, 16)]).toEqual(golden.first16['wikitext2/test.txt']);
    for (const count of [1, 100, 10_000, whole.length - 1]) {
      expect(tokenizer.encodeFirst(text, count)).toEqual(whole.slice(0, count));
    }
    expect(tokenizer.encodeFirst(text, whole.length + 5)).toEqual(whole);
  });

  test('special tokens are added only on request, and recognised in the text', () => {
    expect(tokenizer.encode('')).toHaveLength(0);
    expect([...tokenizer.encode('a<|im_end|>b')]).toContain(2);
    expect(tokenizer.decode([2, 504, 2], { skipSpecialTokens: true })).toBe('The');
  });

  test('a tokenizer without BOS says so', () => {
    expect(tokenizer.bosId).toBeUndefined();
    errorOf(() => tokenizer.encode('a', { bos: true }), 'option-out-of-range');
  });
});

describeWith(sotu.reason, 'sotu-m', () => {
  const tokenizer = new TextTokenizer(readTokenizerFiles(sotu.path ?? ''));
  const golden = json(`${sharedData('demo/golden.json').path}`)['sotu-m'];

  test('counts and ids of the texts', () => {
    const read = (name: string): string => readFileSync(`${sharedData(`demo/${name}`).path}`, 'utf8');
    const ids = tokenizer.encode(read('sotu-test.txt'));
    expect(ids).toHaveLength(golden.testTokens);
    expect([...ids.slice(0, 16)]).toEqual(golden.first16);
    expect(tokenizer.encode(read('sotu-calib.txt'))).toHaveLength(golden.calibTokens);
  });

  test('BOS on request', () => {
    expect(tokenizer.bosId).toBe(0);
    expect([...tokenizer.encode(golden.prompt, { bos: true })]).toEqual([0, ...golden.ids]);
  });

  test('text of the golden continuation', () => {
    expect(tokenizer.decode(golden.greedy)).toBe(golden.greedyText);
  });
});

test('what is no tokenizer is refused', () => {
  for (const tokenizer of [{}, null, { model: { type: 'Unheard' } }, []]) {
    errorOf(() => new TextTokenizer({ tokenizer, config: {} }), 'file-unsupported');
  }
});
