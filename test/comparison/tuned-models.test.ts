import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadEvaluation } from '../../src/calibration/load-windows.js';
import { compareOptionsSchema, type TunedEvaluation, tunedEvaluationSchema } from '../../src/comparison/comparison.js';
import { languageTrainer } from '../../src/comparison/language-trainer.js';
import { TunedModels, type TuningEvent, tunedRow } from '../../src/comparison/tuned-models.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { root } from '../cli/run-dsf.js';
import { temporaryFolder } from '../formats/temporary-folder.js';

const folder = temporaryFolder();
const model = openModel(join(root, 'models/sotu-m'));
const training = await loadEvaluation(model.checkpoint, join(root, 'models/sotu-calib.txt'), {
  seqLen: 16,
  windows: 8,
});
const options = compareOptionsSchema.parse({ finetune: 2, finetuneBatch: 2, samples: 8 });
const evaluated = { perplexity: 9, standardError: 0.1 };

/** A process of its own, as far as files tell. */
async function tune(evaluate: () => Promise<typeof evaluated>) {
  const events: TuningEvent<TunedEvaluation>[] = [];
  const place = { folder, keepModels: true, force: false };
  const trainer = languageTrainer(model, training, options, chooseEngine());
  const tuned = new TunedModels(trainer, tunedEvaluationSchema, place, (event) => events.push(event));
  const kept = tuned.kept('dense', { model: 'hash' });
  await tuned.tune('dense', kept, model, evaluate);
  const steps = events.filter((event) => event.kind === 'tuning' && event.event.kind === 'step').length;
  return { row: tunedRow(kept.value), steps, done: tuned.isDone('dense', kept) };
}

it('a tuned model is not trained again when its evaluation was interrupted, but when it is gone', async () => {
  const killed = tune(async () => {
    throw new Error('killed');
  });
  await expect(killed).rejects.toThrow('killed');
  // As of a process that died before it removed it.
  mkdirSync(join(folder, 'dense-tuned.run'));
  const again = await tune(async () => evaluated);
  expect(again).toMatchObject({ steps: 0, done: true, row: { ...evaluated, resumed: false } });
  expect(existsSync(join(folder, 'dense-tuned.run'))).toBe(false);
  expect(await tune(() => Promise.reject(new Error('nothing to do')))).toMatchObject({ steps: 0, done: true });
  rmSync(join(folder, 'dense-tuned'), { recursive: true });
  expect(await tune(async () => evaluated)).toMatchObject({ steps: 2, done: true });
  expect(existsSync(join(folder, 'dense-tuned', 'config.json'))).toBe(true);
});
