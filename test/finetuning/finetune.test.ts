import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadEvaluation } from '../../src/calibration/load-windows.js';
import { collectParameters } from '../../src/finetuning/collect-parameters.js';
import { finetune } from '../../src/finetuning/finetune.js';
import type { FinetuneEvent } from '../../src/finetuning/finetune-events.js';
import { type FinetuneOptions, finetuneOptionsSchema } from '../../src/finetuning/finetune-options.js';
import { writeFinetuned } from '../../src/finetuning/write-finetuned.js';
import { CompressedCheckpoint } from '../../src/formats/container/checkpoint.js';
import { ShardedWriter } from '../../src/formats/safetensors/sharded-writer.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { dsf, hashes, root, startDsf } from '../cli/run-dsf.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { seededRandom } from '../helpers.js';
import { writeCrudeModel } from './compressed-model.js';

const folder = temporaryFolder();
const dense = join(root, 'models/sotu-m');
const text = join(root, 'models/sotu-calib.txt');
const other = join(folder, 'other.txt');
const compressed = join(folder, 'compressed');
// Bytes are those of an engine: which one is the fastest may change between two runs on a busy machine.
const engine = chooseEngine().name;
const small = { steps: 6, batch: 2, seqLen: 32, engine, evaluateEvery: 2, saveEvery: 2, validationWindows: 4 };

beforeAll(() => {
  writeCrudeModel(dense, compressed);
  writeFileSync(other, readFileSync(join(root, 'models/sotu-test.txt'), 'utf8').slice(0, 20_000));
});

async function run(
  model: string,
  out: string,
  options: Partial<FinetuneOptions> = {},
  validate = false,
  events: FinetuneEvent[] = [],
) {
  const opened = openModel(model);
  const settings = finetuneOptionsSchema.parse({ ...small, ...options });
  const { seqLen, validationWindows: windows } = settings;
  const training = await loadEvaluation(opened.checkpoint, text, { seqLen, windows: 40 });
  const validation = validate ? await loadEvaluation(opened.checkpoint, other, { seqLen, windows }) : undefined;
  const texts = { training, ...(validation && { validation }) };
  try {
    const result = await finetune(opened, undefined, texts, out, settings, (event) => events.push(event));
    return { result, events };
  } finally {
    opened.checkpoint.close();
  }
}

/** Bitmasks and counts of all factors. */
function supportsOf(path: string): unknown {
  const checkpoint = new CompressedCheckpoint(path);
  const all = [...checkpoint.products].map(([name, { counts, members }]) => {
    const masks = checkpoint.readProduct(name).map(({ bitmask }) => Buffer.from(bitmask).toString('hex'));
    return [name, counts, members, masks];
  });
  checkpoint.close();
  return all;
}

describe('a compressed model', () => {
  it('keeps its supports and gets better', async () => {
    const out = join(folder, 'better');
    const { events, result } = await run(compressed, out, { steps: 20, evaluateEvery: 20, learningRate: 1e-3 }, true);
    const losses = events.flatMap((event) => (event.kind === 'validation' ? [event.loss] : []));
    expect(losses).toHaveLength(2);
    expect(losses[1]).toBeLessThan(losses[0]! - 0.15);
    expect(result).toMatchObject({ steps: 20, writtenStep: 20 });
    expect(supportsOf(out)).toEqual(supportsOf(compressed));
    expect(existsSync(`${out}.run`)).toBe(false);
    const { quantization_config: settings } = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
    expect(settings.finetuning).toMatchObject({ steps: 20, learningRate: 1e-3, step: 20, teacher: false });
    expect(readFileSync(join(out, 'tokenizer.json'))).toEqual(readFileSync(join(dense, 'tokenizer.json')));
  }, 60_000);

  it('keeps values in the support that became zero', () => {
    const model = openModel(compressed);
    const trainee = collectParameters(model, 8, finetuneOptionsSchema.parse({}));
    trainee.values.fill(0, 0, 5000);
    const out = join(folder, 'zeros');
    writeFinetuned(model.checkpoint, out, trainee.values, trainee.stored, { settings: {}, replace: false });
    expect(supportsOf(out)).toEqual(supportsOf(compressed));
    const again = collectParameters(openModel(out), 8, finetuneOptionsSchema.parse({}));
    expect(again.values).toHaveSameBits(trainee.values);
    model.checkpoint.close();
  });

  it('that was not trained at all is written as it was', () => {
    const model = openModel(compressed);
    const trainee = collectParameters(
      model,
      8,
      finetuneOptionsSchema.parse({ train: ['linear', 'norms', 'embeddings'] }),
    );
    const out = join(folder, 'same');
    writeFinetuned(model.checkpoint, out, trainee.values, trainee.stored, { settings: {}, replace: false });
    expect(hashes(out)['model.safetensors']).toBe(hashes(compressed)['model.safetensors']);
    model.checkpoint.close();
  });
});

describe('a dense model', () => {
  it('keeps the zeros of its pruned matrices, unless told otherwise', async () => {
    const masked = writeMasked(join(folder, 'masked'));
    const zerosOf = (path: string): number[] => {
      const { checkpoint } = openModel(path);
      const { data } = checkpoint.read('model.layers.3.mlp.up_proj.weight');
      checkpoint.close();
      return [...data.keys()].filter((i) => data[i] === 0);
    };
    const { events } = await run(masked, join(folder, 'masked-kept'));
    const zeros = events.find(({ kind }) => kind === 'zeros') as Extract<FinetuneEvent, { kind: 'zeros' }>;
    expect(zeros).toMatchObject({ kept: true, matrices: 42 });
    expect(zeros.zeros / zeros.entries).toBeCloseTo(0.5, 2);
    const free = await run(masked, join(folder, 'masked-free'), { keepZeros: false });
    expect(free.events).toContainEqual({ ...zeros, kept: false });
    expect(zerosOf(join(folder, 'masked-kept'))).toEqual(zerosOf(masked));
    expect(zerosOf(join(folder, 'masked-free')).length).toBeLessThan(100);
  }, 60_000);
});

/** sotu-m with half of its matrices' entries zero. */
function writeMasked(path: string): string {
  const { checkpoint } = openModel(dense);
  const tensors = [...checkpoint.tensors.values()];
  const writer = new ShardedWriter(
    path,
    tensors.map((tensor) => ({ tensors: [tensor] })),
  );
  const random = seededRandom(1);
  for (const { name } of tensors) {
    const isMatrix = name.includes('_proj');
    writer.writeFloats(
      name,
      checkpoint.read(name).data.map((value) => (isMatrix && random() < 0.5 ? 0 : value)),
    );
  }
  writer.commit();
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    writeFileSync(join(path, file), readFileSync(join(dense, file)));
  checkpoint.close();
  return path;
}

describe('a run', () => {
  it('stops when the validation text says so, and writes the best step', async () => {
    const { result, events } = await run(
      compressed,
      join(folder, 'stopped'),
      { steps: 50, evaluateEvery: 1, patience: 2, learningRate: 0.05, warmup: 0 },
      true,
    );
    const losses = events.flatMap((event) => (event.kind === 'validation' ? [event.loss] : []));
    expect(result.steps).toBe(result.writtenStep + 2);
    expect(result.validationLoss).toBe(Math.min(...losses));
    expect(events.slice(-3).map(({ kind }) => kind)).toEqual(['stopped', 'trained', 'written']);
  });

  it('whose loss is no number names the step and keeps the checkpoint before it', async () => {
    const out = join(folder, 'diverged');
    const diverging = run(compressed, out, { learningRate: 1e37, warmup: 1, saveEvery: 1, steps: 4 });
    await expect(diverging).rejects.toMatchObject({
      code: 'non-finite-value',
      message: expect.stringMatching(/^step [23]:/),
    });
    expect(existsSync(join(out, 'config.json'))).toBe(false);
    expect(existsSync(`${out}.run`)).toBe(true);
  });

  it('with a damaged checkpoint says how to start over, and does when told so', async () => {
    const out = join(folder, 'damaged');
    const settings = { learningRate: 1e37, warmup: 1, saveEvery: 1, steps: 4 };
    await expect(run(compressed, out, settings)).rejects.toThrow(/^step [23]:/);
    writeFileSync(join(`${out}.run`, 'state.safetensors'), 'torn');
    await expect(run(compressed, out, settings)).rejects.toMatchObject({
      code: 'file-malformed',
      hint: expect.stringContaining('add --force to start over'),
    });
    const events: FinetuneEvent[] = [];
    await expect(run(compressed, out, { ...settings, force: true }, false, events)).rejects.toThrow(/^step [23]:/);
    expect(events.map(({ kind }) => kind)).toContain('discarded');
    expect(events).toContainEqual(expect.objectContaining({ kind: 'start', resumedAt: 0 }));
  });

  it('refuses to train what the model does not have', async () => {
    const out = join(folder, 'biases');
    await expect(run(compressed, out, { train: ['biases'] })).rejects.toMatchObject({
      code: 'option-out-of-range',
      message: `${compressed} has no biases to train`,
    });
    expect(existsSync(`${out}.run`)).toBe(false);
  });

  it.each([
    [['--teacher-weight', '0.5'], '--teacher is not given, so nothing needs --teacher-weight'],
    [['--patience', '2', '--evaluate-every', '5'], 'nothing needs --evaluate-every, --patience'],
  ])('refuses %s where it means nothing', (flags, message) => {
    const { status, stderr } = dsf('finetune', compressed, '--data', text, '--out', join(folder, 'idle'), ...flags);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) });
  });

  it('refuses to write over a model, and to go on with other options', async () => {
    await expect(run(compressed, compressed)).rejects.toMatchObject({ code: 'option-out-of-range' });
    expect(existsSync(`${compressed}.run`)).toBe(false);
    await expect(run(compressed, join(folder, 'diverged'), { learningRate: 1e-4 })).rejects.toMatchObject({
      code: 'run-mismatch',
      message: expect.stringContaining('learningRate was 1e+37, now 0.0001'),
    });
  });

  it('killed again and again ends with the bytes of an undisturbed one', async () => {
    const command = (out: string): string[] => [
      ...['finetune', compressed, '--data', text, '--validation', other, '--teacher', dense, '--out', out],
      ...['--steps', '12', '--batch', '3', '--micro-batch', '1', '--seq-len', '32', '--engine', engine],
      ...['--evaluate-every', '3', '--save-every', '2', '--validation-windows', '4'],
    ];
    const whole = join(folder, 'whole');
    expect(dsf(...command(whole))).toMatchObject({ status: 0 });
    const broken = join(folder, 'broken');
    const random = seededRandom(3);
    let kills = 0;
    while ((await killAfter(2 + Math.floor(random() * 3), command(broken))) === 'killed') {
      expect(existsSync(join(broken, 'config.json'))).toBe(false);
      kills++;
    }
    expect(kills).toBeGreaterThanOrEqual(2);
    expect(hashes(broken)).toEqual(hashes(whole));
    expect(existsSync(`${broken}.run`)).toBe(false);
  }, 180_000);
});

describe('Ctrl-C', () => {
  const command = (out: string): string[] => [
    ...['finetune', compressed, '--data', text, '--out', out, '--engine', engine],
    ...['--steps', '400', '--batch', '2', '--seq-len', '32', '--learning-rate', '1e-6'],
  ];
  it('saves the step at hand and tells how to go on', async () => {
    const out = join(folder, 'a run');
    const { code, said } = await interrupt(command(out));
    expect(code).toBe(130);
    const [, step] = /interrupted behind step (\d+) of 400, which is saved in/.exec(said) ?? [];
    expect(said).toContain(`--out '${out}'`);
    const going = await interrupt(command(out));
    expect(going.said).toContain(`going on behind step ${step}`);
    expect(going.code).toBe(130);
  }, 60_000);
});

/** Starts a run, presses Ctrl-C when it has made two steps, and waits for its end. */
function interrupt(command: string[]): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = startDsf(...command);
    let said = '';
    let pressed = false;
    child.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
      if (pressed || said.split('\n').filter((line) => /^\[ *\d+\/\d+\]/.test(line)).length < 2) return;
      pressed = true;
      child.kill('SIGINT');
    });
    child.on('close', (code) => resolve({ code, said }));
  });
}

/** Starts a run and kills it when it has made `steps` more steps, or after its end. */
function killAfter(steps: number, command: string[]): Promise<'killed' | 'ended'> {
  return new Promise((resolve, reject) => {
    const child = startDsf(...command);
    let said = '';
    child.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
      if (said.split('\n').filter((line) => /^\[ *\d+\/\d+\]/.test(line)).length >= steps) child.kill('SIGKILL');
    });
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve('killed');
      else if (code === 0) resolve('ended');
      else reject(new Error(`exit code ${code}: ${said}`));
    });
  });
}
