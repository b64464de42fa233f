// How long does one training step take next to PyTorch's, of a dense model and of one with two sparse factors? Steps of
// both alternate in processes that stay; medians of REPEATS (default 8) after a warm-up, wall and processor seconds. On
// a busy machine compare the latter at --threads 1: waiting threads of PyTorch spin.
// usage: node bench/training-step-versus-pytorch.mjs [--model models/sotu-m] [--compressed DIR] [--repeats 8]
//        [--batch 8] [--seq-len 256] [--threads all]
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { collectParameters } from '../dist/finetuning/collect-parameters.js';
import { finetuneOptionsSchema } from '../dist/finetuning/finetune-options.js';
import { languageTask } from '../dist/finetuning/language-task.js';
import { chooseEngine } from '../dist/linalg/engines/select.js';
import { openModel } from '../dist/models/llama/open-model.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/sotu-m' },
    compressed: { type: 'string' },
    repeats: { type: 'string', default: '8' },
    batch: { type: 'string', default: '8' },
    'seq-len': { type: 'string', default: '256' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const [batch, seqLen, repeats] = [Number(values.batch), Number(values['seq-len']), Number(values.repeats)];
const threads = Number(values.threads);
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** `step` runs one step and gives its wall and processor seconds. */
function ours(path) {
  const model = openModel(path);
  const options = finetuneOptionsSchema.parse({ batch });
  const trainee = collectParameters(model, seqLen, options);
  const task = languageTask(trainee, undefined, { training: { windows: [] } }, chooseEngine(), threads, options);
  let count = 0;
  const step = async () => {
    const sequences = Array.from({ length: batch }, () =>
      Uint32Array.from({ length: seqLen }, () => Math.floor(Math.random() * model.config.vocabularySize)),
    );
    const { pool } = await task;
    if (count === 0) await pool.expand();
    const [start, before] = [performance.now(), process.cpuUsage()];
    const { gradientNorm } = await pool.gradient(sequences, 1 / (batch * (seqLen - 1)));
    await pool.update({ step: ++count, learningRate: 1e-5, gradientScale: Math.min(1, 1 / gradientNorm) });
    const { user, system } = process.cpuUsage(before);
    return [(performance.now() - start) / 1000, (user + system) / 1e6];
  };
  return { step, close: async () => (await task).pool.close() };
}

function torch(kind) {
  const script = fileURLToPath(new URL('training_step.py', import.meta.url));
  const child = spawn('python3', [script, values.model, kind, String(batch), String(seqLen), values.threads], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const step = async () => {
    child.stdin.write('\n');
    const { value, done } = await lines.next();
    if (done) throw new Error('the Python side ended');
    return value.split(' ').map(Number);
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
  const columns = Object.entries(seconds).map(([name, list]) => {
    const [wall, processor] = [0, 1].map((index) => median(list.map((each) => each[index])));
    return { name, wall, processor };
  });
  const text = columns.map(
    ({ name, wall, processor }) => `${name} ${wall.toFixed(3)} s (processor ${processor.toFixed(3)} s)`,
  );
  const [own, other] = columns;
  const ratio = other
    ? `: ${(own.wall / other.wall).toFixed(2)} x (processor ${(own.processor / other.processor).toFixed(2)} x)`
    : '';
  console.log(`${kind}, batch ${batch} x ${seqLen}, ${threads} threads: ${text.join(', ')}${ratio}`);
}
