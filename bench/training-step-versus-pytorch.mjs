// How long does one training step take next to PyTorch's, of a dense model and of one with two sparse factors? Steps of
// both alternate in processes that stay; medians and the best of REPEATS (default 8) after a warm-up.
// usage: node bench/training-step-versus-pytorch.mjs [--model models/sotu-m] [--compressed DIR] [--repeats 8]
//        [--batch 8] [--seq-len 256]
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { collectParameters } from '../dist/finetuning/collect-parameters.js';
import { finetuneOptionsSchema } from '../dist/finetuning/finetune-options.js';
import { TrainingPool } from '../dist/finetuning/training-pool.js';
import { chooseEngine } from '../dist/linalg/engines/select.js';
import { openModel } from '../dist/models/llama/open-model.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/sotu-m' },
    compressed: { type: 'string' },
    repeats: { type: 'string', default: '8' },
    batch: { type: 'string', default: '8' },
    'seq-len': { type: 'string', default: '256' },
  },
});
const [batch, seqLen, repeats] = [Number(values.batch), Number(values['seq-len']), Number(values.repeats)];
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** A function that runs one step and gives its seconds. */
function ours(path) {
  const model = openModel(path);
  const options = finetuneOptionsSchema.parse({ batch });
  const trainee = collectParameters(model, seqLen, options);
  const pool = new TrainingPool(trainee, undefined, chooseEngine(), availableParallelism(), options);
  let count = 0;
  const step = async () => {
    const sequences = Array.from({ length: batch }, () =>
      Uint32Array.from({ length: seqLen }, () => Math.floor(Math.random() * model.config.vocabularySize)),
    );
    if (count === 0) await pool.expand();
    const start = performance.now();
    const { gradientNorm } = await pool.gradient(sequences);
    await pool.update(++count, 1e-5, Math.min(1, 1 / gradientNorm));
    return (performance.now() - start) / 1000;
  };
  return { step, close: () => pool.close() };
}

function torch(kind) {
  const script = fileURLToPath(new URL('training_step.py', import.meta.url));
  const child = spawn('python3', [script, values.model, kind, String(batch), String(seqLen)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const step = async () => {
    child.stdin.write('\n');
    const { value, done } = await lines.next();
    if (done) throw new Error('the Python side ended');
    return Number(value);
  };
  return { step, close: () => child.stdin.end() };
}

const hasTorch = spawnSync('python3', ['-c', 'import torch, transformers']).status === 0;
if (!hasTorch) console.log("Python's torch or transformers is absent: ours alone");
const cases = [['dense', values.model], ...(values.compressed ? [['factors', values.compressed]] : [])];
for (const [kind, path] of cases) {
  const sides = { ours: ours(path), ...(hasTorch && { PyTorch: torch(kind) }) };
  const seconds = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let repeat = -2; repeat < repeats; repeat++) {
    for (const [name, { step }] of Object.entries(sides)) {
      const taken = await step();
      if (repeat >= 0) seconds[name].push(taken);
    }
  }
  for (const { close } of Object.values(sides)) await close();
  const text = Object.entries(seconds).map(
    ([name, list]) => `${name} ${median(list).toFixed(3)} s (best ${Math.min(...list).toFixed(3)})`,
  );
  const ratio = hasTorch
    ? `: ${(median(seconds.ours) / median(seconds.PyTorch)).toFixed(2)} x, of the best ${(Math.min(...seconds.ours) / Math.min(...seconds.PyTorch)).toFixed(2)} x`
    : '';
  console.log(`${kind}, batch ${batch} x ${seqLen}: ${text.join(', ')}${ratio}`);
}
