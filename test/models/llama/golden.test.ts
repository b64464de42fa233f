import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import { Compute } from '../../../src/linalg/compute.js';
import { type EngineName, engineNames } from '../../../src/linalg/engine.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import '../../helpers.js';
import { describeWith } from '../../describe-with.js';
import { sharedData } from '../../smollm2-fixture.js';

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const compute = new Compute(createEngine('wasm'));

/** How far logits may be from transformers'. */
const tolerance = 2e-3;

function computeOf(name: EngineName): Compute | undefined {
  try {
    return new Compute(createEngine(name));
  } catch {
    return undefined;
  }
}

// Made by golden/make_goldens.py with transformers.
const families = ['llama3-rope', 'llama-linear-rope-biases', 'mistral-sliding-window', 'qwen2-mixed-windows', 'qwen3'];

describe.each(engineNames)('families on the engine %s', (engine) => {
  const own = computeOf(engine);
  test.skipIf(!own).each(families)('%s', (name) => {
    const folder = join(import.meta.dirname, '../golden', name);
    const { ids } = json(join(folder, 'golden.json'));
    const golden = new SafetensorsFile(join(folder, 'golden.safetensors'));
    const checkpoint = openCheckpoint(folder);
    expect(new LlamaModel(checkpoint).logits(ids, own!)).toBeAllclose(golden.readMatrix('logits'), {
      atol: tolerance,
    });
    golden.close();
    checkpoint.close();
  });
});

const sotu = sharedData('demo/sotu-m');
describeWith(sotu.reason, 'sotu-m', () => {
  const golden = json(`${sotu.path}/../golden.json`)['sotu-m'];
  const model = new LlamaModel(openCheckpoint(`${sotu.path}`));

  test('logits', () => {
    const logits = model.logits(golden.ids, compute);
    const last = logits.data.subarray(logits.data.length - logits.columns);
    const top: [number, number][] = golden.lastLogitsTop10;
    expect(top.map(([id]) => last[id]!)).toBeAllclose(
      top.map(([, value]) => value),
      { atol: tolerance },
    );
  });

  test('greedy continuation', () => {
    const continued: number[] = golden.greedy;
    // All at once: each token must be the largest logit after those before it.
    const ids: number[] = [...golden.ids, ...continued];
    const logits = model.logits(ids, compute);
    const best = continued.map((_, i) => {
      const row = golden.ids.length - 1 + i;
      const values = logits.data.subarray(row * logits.columns, (row + 1) * logits.columns);
      return values.indexOf(Math.max(...values));
    });
    expect(best).toEqual(continued);
  });
});
