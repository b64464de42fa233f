// Tokens a second of the runtime, each model next to the others: one token at a time, the first token behind a prompt,
// and resident memory. Each model is a process of its own; rounds are interleaved, medians are shown.
// With --blas, also the dense fp32 products of one token (all linear layers and the head) as sgemv of the system's BLAS.
// usage: node bench/generation-speed.mjs MODEL[:representation] … [--threads 2] [--rounds 5] [--tokens 32] [--prompt 512]
//        [--kernels plain] [--blas]
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import koffi from 'koffi';
import { findNativeLibrary } from '../dist/linalg/engines/native.js';
import { openModel } from '../dist/models/llama/open-model.js';
import { linearNames, linearShape } from '../dist/models/llama/tensors.js';
import { loadTokenModel } from '../dist/runtime/load-model.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '32' },
    prompt: { type: 'string', default: '512' },
    kernels: { type: 'string' },
    blas: { type: 'boolean', default: false },
  },
});
const [threads, rounds, tokens, prompt] = ['threads', 'rounds', 'tokens', 'prompt'].map((name) => Number(flags[name]));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const residentMegabytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1e3;

/** In a child: a round for each message. */
async function serveModel(path, representation) {
  const loaded = await loadTokenModel(path, {
    threads,
    capacity: Math.max(prompt, 16) + tokens + 1,
    ...(representation && { representation }),
    ...(flags.kernels && { kernels: flags.kernels }),
  });
  const { model } = loaded;
  const ids = Array.from({ length: prompt }, (_, i) => (i * 7919 + 13) % model.vocabularySize);
  await model.extend([1]);
  const resident = process.platform === 'linux' ? residentMegabytes() : Number.NaN;
  process.send({ kernels: loaded.kernels, loadSeconds: loaded.loadSeconds, weightBytes: loaded.weightBytes, resident });
  process.on('message', async () => {
    model.truncate(0);
    let start = performance.now();
    await model.extend(ids);
    const firstToken = performance.now() - start;
    model.truncate(16);
    await model.extend([1]);
    start = performance.now();
    for (let i = 0; i < tokens; i++) await model.extend([i]);
    process.send({ firstToken, perToken: (performance.now() - start) / tokens });
  });
}

/** In a child: sgemv with random fp32 weights of the model's shapes. */
function serveBlas(path) {
  const { config } = openModel(path);
  const { library } = findNativeLibrary();
  const { prefix, suffix } = library;
  const handle = koffi.load(library.file);
  const sgemv = handle.func(
    `void ${prefix}cblas_sgemv${suffix}(int, int, int, int, float, void *, int, void *, int, float, void *, int)`,
  );
  if (library.setThreads) handle.func(`void ${library.setThreads}(int)`)(threads);
  const shapes = Array.from({ length: config.layers }, () =>
    linearNames.map((name) => linearShape(config, name)),
  ).flat();
  shapes.push([config.vocabularySize, config.hiddenSize]);
  const weights = shapes.map(([rows, columns]) => new Float32Array(rows * columns).fill(0.01));
  const x = new Float32Array(Math.max(...shapes.map(([, columns]) => columns))).fill(0.5);
  const y = new Float32Array(Math.max(...shapes.map(([rows]) => rows)));
  const once = () => {
    for (const [i, [rows, columns]] of shapes.entries())
      sgemv(101, 111, rows, columns, 1, weights[i], columns, x, 1, 0, y, 1);
  };
  once();
  process.send({ kernels: library.title, loadSeconds: 0, weightBytes: 0, resident: residentMegabytes() });
  process.on('message', () => {
    const start = performance.now();
    for (let i = 0; i < tokens; i++) once();
    process.send({ firstToken: Number.NaN, perToken: (performance.now() - start) / tokens });
  });
}

const answer = (child) =>
  new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`a child ended with ${code}`)));
  });

if (process.send) {
  const [path, kind] = process.env.DSF_BENCH_MODEL.split(':');
  if (kind === 'blas') serveBlas(path);
  else await serveModel(path, kind);
} else {
  const names = [...positionals, ...(flags.blas ? [`${positionals[0].split(':')[0]}:blas`] : [])];
  const cases = [];
  for (const name of names) {
    const child = fork(process.argv[1], process.argv.slice(2), { env: { ...process.env, DSF_BENCH_MODEL: name } });
    cases.push({ name, child, ...(await answer(child)), first: [], token: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const each of cases) {
      const reply = answer(each.child);
      each.child.send('go');
      const { firstToken, perToken } = await reply;
      each.first.push(firstToken);
      each.token.push(perToken);
    }
  }
  console.log(`${threads} threads, ${rounds} rounds; prompt of ${prompt}, then ${tokens} tokens one at a time`);
  console.log('tokens/s  ms/token  first token ms  weights MB  resident MB  load s  model');
  for (const { name, child, kernels, loadSeconds, weightBytes, resident, first, token } of cases) {
    child.removeAllListeners('exit');
    child.kill();
    const cells = [1000 / median(token), median(token), median(first), weightBytes / 1e6, resident, loadSeconds];
    const shown = cells.map((cell, i) =>
      (cell ?? Number.NaN).toFixed([1, 2, 0, 1, 0, 2][i]).padStart([8, 8, 14, 10, 11, 6][i]),
    );
    console.log(`${shown.join('  ')}  ${name} (${kernels})`);
  }
}
