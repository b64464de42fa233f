import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RunFolder } from '../../src/compression/run-folder.js';
import type { FinetuneEvent } from '../../src/finetuning/finetune-events.js';
import { finetuneOptionsSchema } from '../../src/finetuning/finetune-options.js';
import { TrainingRun, type TrainingTask } from '../../src/finetuning/training-run.js';
import { newTrainedValues } from '../../src/training/trained-values.js';
import { temporaryFolder } from '../formats/temporary-folder.js';

type LossSums = { readonly loss: number };
const folder = temporaryFolder();
let made = 0;
afterEach(() => vi.restoreAllMocks());

/** One value that every step adds 1 to; a pool without threads. */
function setUp(settings: Record<string, unknown>, lossOf: (value: number) => number = (value) => 1 / (1 + value)) {
  const values = new Float32Array(new SharedArrayBuffer(4));
  const sums = (examples: readonly number[]): LossSums => ({ loss: examples.length * lossOf(values[0] as number) });
  const pool = {
    lanes: 1,
    expand: async () => {},
    gradient: async (examples: readonly number[]) => ({ sums: sums(examples), gradientNorm: 1 }),
    update: async () => {
      values[0] = (values[0] as number) + 1;
    },
    losses: async (examples: readonly number[]) => sums(examples),
  };
  const task = {
    pool: pool as unknown as TrainingTask<number, LossSums>['pool'],
    trained: newTrainedValues(values, [], 1, 0),
    parameters: [],
    examples: 10,
    read: async (indices: readonly number[]) => indices,
    predictions: () => 1,
    lossOf: ({ loss }: LossSums) => loss,
  };
  const path = join(folder, `${made++}.run`);
  const options = finetuneOptionsSchema.parse({ steps: 6, batch: 2, ...settings });
  const events: FinetuneEvent[] = [];
  const start = (onEvent: (event: FinetuneEvent) => void = () => {}) => {
    const runFolder = new RunFolder(path, {});
    const run = new TrainingRun<number, LossSums>(task, runFolder, options, (event) => {
      events.push(event);
      onEvent(event);
    });
    return run.train().finally(() => runFolder.close());
  };
  const log = (): Record<string, unknown>[] =>
    readFileSync(join(path, 'events.ndjson'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  const checkpoints = () => events.flatMap((event) => (event.kind === 'checkpoint' ? [event.step] : []));
  return { path, values, events, start, log, checkpoints };
}

describe('a run', () => {
  it('that is asked to stop saves the step at hand and goes on behind it', async () => {
    const { start, values, checkpoints, path } = setUp({});
    let stop = (): void => {};
    const stopping = start((event) => {
      if (event.kind === 'start') stop = event.stop;
      if (event.kind === 'step' && event.step === 4) stop();
    });
    await expect(stopping).rejects.toMatchObject({
      code: 'interrupted',
      message: `interrupted behind step 4 of 6, which is saved in ${path}`,
    });
    expect(checkpoints()).toEqual([4]);
    values[0] = 0;
    expect(await start()).toMatchObject({ steps: 6, resumedAt: 4 });
    expect(values[0]).toBe(6);
  });

  it('that is asked to stop before its first step has nothing to save', async () => {
    const { start, path } = setUp({});
    const stopping = start((event) => {
      if (event.kind === 'start') event.stop();
    });
    await expect(stopping).rejects.toThrow('interrupted before the first step');
    expect(existsSync(join(path, 'state.safetensors'))).toBe(false);
  });

  it('that is asked to stop in its last step ends', async () => {
    const { start } = setUp({});
    let stop = (): void => {};
    const whole = start((event) => {
      if (event.kind === 'start') stop = event.stop;
      if (event.kind === 'step' && event.step === 6) stop();
    });
    expect(await whole).toMatchObject({ steps: 6 });
  });

  it('of slow steps is saved by the clock', async () => {
    const { start, checkpoints } = setUp({});
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    await start((event) => {
      if (event.kind === 'step') now += 3 * 60_000;
    });
    expect(checkpoints()).toEqual([2, 4, 6]);
  });

  it('does not save values that give no finite loss, the last ones neither', async () => {
    const { start, checkpoints } = setUp({ saveEvery: 1 }, (value) => (value < 6 ? 1 : Number.NaN));
    await expect(start()).rejects.toMatchObject({
      code: 'non-finite-value',
      message: expect.stringMatching(/^step 6: .* NaN/),
      hint: expect.stringContaining('the checkpoint behind step 5 is in'),
    });
    expect(checkpoints()).toEqual([1, 2, 3, 4, 5]);
  });

  it('notes in its folder what happens, not every step of many', async () => {
    const few = setUp({ saveEvery: 3 });
    await few.start();
    expect(few.log().map(({ event, step }) => (event === 'step' ? step : event))).toEqual([
      ...['start', 1, 2, 3],
      // Of step 3, whose values gave step 4 a finite loss.
      ...['checkpoint', 4, 5, 6, 'checkpoint', 'trained'],
    ]);
    expect(few.log()[1]).toMatchObject({ step: 1, loss: 1, gradientNorm: 1, memory: expect.any(Number) });
    const many = setUp({ steps: 1200 });
    await many.start();
    expect(many.log().filter(({ event }) => event === 'step')).toHaveLength(400);
  });
});
