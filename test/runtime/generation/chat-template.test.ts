import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { type ChatMessage, renderChatTemplate } from '../../../src/runtime/generation/chat-template.js';
import { encodePrompt } from '../../../src/runtime/generation/encode-prompt.js';
import { openGenerationTokenizer } from '../../../src/runtime/generation/generation-tokenizer.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { smollm2Gguf } from '../../smollm2-fixture.js';

interface Case {
  readonly template: string;
  readonly messages: ChatMessage[];
  readonly text?: string;
  readonly refusal?: string;
}

const golden = JSON.parse(readFileSync(new URL('golden/chats.json', import.meta.url), 'utf8')) as {
  now: string;
  tokens: Record<string, string>;
  templates: Record<string, string>;
  cases: Case[];
  smollm2: { messages: ChatMessage[]; text: string; ids: number[] }[];
};
const hello: ChatMessage[] = [{ role: 'user', content: 'hello' }];
const gguf = smollm2Gguf();

describe('as transformers renders', () => {
  test.each(golden.cases)('$template', async ({ template, messages, text, refusal }) => {
    const options = { specialTokens: golden.tokens, now: new Date(golden.now) };
    const rendered = renderChatTemplate(golden.templates[template] as string, messages, options);
    if (refusal === undefined) expect(await rendered).toBe(text);
    else expect((await rejectionOf(() => rendered, 'option-out-of-range')).message).toContain(refusal);
  });

  test.skipIf(gguf.reason)('the template in SmolLM2', async () => {
    const checkpoint = openCheckpoint(gguf.path as string);
    const tokenizer = openGenerationTokenizer(checkpoint);
    checkpoint.close();
    for (const { messages, text, ids } of golden.smollm2) {
      const { chatTemplate = '', specialTokens } = tokenizer;
      expect(await renderChatTemplate(chatTemplate, messages, { specialTokens })).toBe(text);
      expect([...(await encodePrompt(tokenizer, messages))]).toEqual(ids);
    }
  });
});

describe('templates that do harm', () => {
  // Which limit is met first depends on the machine in one of them.
  test.each<[string, string | RegExp]>([
    ['{% for i in range(1000000000000) %}x{% endfor %}', 'range'],
    ['{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}', 'seconds'],
    ['{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}', /memory|seconds/],
    ["{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}", 'length'],
    [
      "{% set n = namespace(x='ab') %}{% for i in range(27) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
      'characters',
    ],
    [`{{ ${'('.repeat(100_000)}`, ''],
    ['{% ', ''],
    ["{{ strftime_now('%Q') }}", '%Q'],
    ['{{ messages | unheard }}', ''],
  ])('%s', async (template, problem) => {
    const { message } = await rejectionOf(
      () => renderChatTemplate(template, hello, { seconds: 2 }),
      'file-unsupported',
    );
    expect(message).toMatch(problem);
  });

  test('any text is rendered or refused', async () => {
    const parts = fc.constantFrom(
      '{{',
      '}}',
      '{%',
      '%}',
      ' for m in messages ',
      ' endfor ',
      ' if ',
      ' m.content ',
      '|',
      'x',
      "'",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(parts, { maxLength: 12 }), async (text) => {
        const rendered = renderChatTemplate(text.join(''), hello);
        await rendered.catch(() => rejectionOf(() => rendered, 'file-unsupported'));
      }),
      { numRuns: 40 },
    );
  });
});
