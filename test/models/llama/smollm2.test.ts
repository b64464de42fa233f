import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TextTokenizer } from '../../../src/calibration/tokenizer.js';
import { consecutiveWindows } from '../../../src/calibration/windows.js';
import { perplexity } from '../../../src/evaluation/perplexity.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import '../../helpers.js';
import { describeWith } from '../../describe-with.js';
import { sharedData, smollm2Gguf } from '../../smollm2-fixture.js';

const gguf = smollm2Gguf();
const golden = sharedData('smollm2/golden.json');
const text = sharedData('wikitext2/test.txt');
const reason = gguf.reason ?? golden.reason ?? text.reason;
if (reason) console.warn(`SmolLM2 parity is not tested: ${reason}`);

/** The whole perplexities take minutes of processor time. */
const slow = process.env.DSF_SLOW_TESTS !== undefined;

describeWith(reason, 'SmolLM2-135M-Instruct (GGUF) against transformers', () => {
  const checkpoint = openCheckpoint(gguf.path ?? '');
  const model = new LlamaModel(checkpoint);
  const tokenizer = new TextTokenizer(checkpoint.tokenizerFiles());
  const expected = JSON.parse(readFileSync(golden.path ?? '', 'utf8'));

  test('ids and logits of the samples', { timeout: 60_000 }, () => {
    const compute = new Compute(createEngine());
    for (const { text: sample, ids, lastLogitsTop10, logitsRow0First8 } of expected.samples) {
      expect([...tokenizer.encode(sample)]).toEqual(ids);
      const logits = model.logits(ids, compute);
      const last = (ids.length - 1) * logits.columns;
      const top: [number, number][] = lastLogitsTop10;
      expect(top.map(([id]) => logits.data[last + id]!)).toBeAllclose(
        top.map(([, value]) => value),
        { atol: 2e-3 },
      );
      expect(logits.data.subarray(0, 8)).toBeAllclose(logitsRow0First8, { atol: 2e-3 });
    }
  });

  test.skipIf(!slow).each([0, 1])('perplexity %i', { timeout: 600_000 }, async (index) => {
    const { windows, seqLen, value } = expected.perplexity[index];
    const ids = tokenizer.encodeFirst(readFileSync(text.path ?? '', 'utf8'), windows * seqLen);
    const result = await perplexity(model, consecutiveWindows(ids, { windows, seqLen }));
    expect(Math.abs(result.perplexity / value - 1)).toBeLessThan(5e-4);
  });
});
