import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { greedy } from '../../src/runtime/generation/greedy.js';
import { loadTokenModel } from '../../src/runtime/load-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { writePrunedModel } from './pruned-model.js';

const tokens = 200;
const prompt = Uint32Array.of(17, 250, 3, 999);

// What errors add up to in keys and values: sums in another order, nothing else.
test.each(['stored', 'indexed'] as const)(
  '%s: 200 tokens have the logits of expanded weights',
  { timeout: 60_000 },
  async (representation) => {
    const llama = openModel(writePrunedModel(join(temporaryFolder(), 'pruned')));
    const options = { threads: 1, engine: 'wasm', capacity: 256, representation } as const;
    const { model } = await loadTokenModel(llama, options);
    const ids = [...prompt];
    const kept: Float32Array[] = [];
    for (let next: ArrayLike<number> = prompt; kept.length < tokens; next = ids.slice(-1)) {
      const logits = await model.extend(next);
      kept.push(logits.slice());
      ids.push(greedy(logits));
    }
    await model.close();
    const oracle = llama.logits(ids, new Compute(createEngine('wasm')));
    llama.checkpoint.close();
    const { columns } = oracle;
    for (const [i, logits] of kept.entries()) {
      const start = (prompt.length - 1 + i) * columns;
      const expected = oracle.data.subarray(start, start + columns);
      const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = logits.reduce((most, value, j) => Math.max(most, Math.abs(value - (expected[j] as number))), 0);
      expect(worst / scale, `token ${i}`).toBeLessThan(1e-4);
      if (i < 64) expect(greedy(expected), `token ${i}`).toBe(ids[prompt.length + i]);
    }
  },
);
