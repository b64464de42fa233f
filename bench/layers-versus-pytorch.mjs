// How much faster is each effort than the reference schedule as PyTorch users run it, and at what error?
// Whole processes side by side, interleaved, REPEATS times (default 1); medians. Where Python has no torch, the seconds
// recorded in reference.json stand in, and the output says so.
// usage: node bench/layers-versus-pytorch.mjs [--repeats 1] [--shared ../shared]
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { repeats: { type: 'string', default: '1' }, shared: { type: 'string', default: '../shared' } },
});
const folder = join(values.shared, 'data/layers');
if (!existsSync(folder)) {
  console.log(`${folder} is absent: nothing to measure`);
  process.exit(0);
}
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.safetensors'))
  .map((name) => join(folder, name));
const golden = JSON.parse(readFileSync(join(folder, 'reference.json'), 'utf8')).layers;
const referenceError = (name) => golden[name]['double-sparse-reference'].relativeError;
const geometricMean = (ratios) => Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

function timed(command, args) {
  const start = performance.now();
  const child = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (child.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${child.stderr}`);
  return { wall: (performance.now() - start) / 1000, output: child.stdout };
}

/** One run of PyTorch on all files: the sum of its layers' seconds (imports and reading not counted). */
function runTorch() {
  const { output } = timed('python3', [join(values.shared, 'bench/torch_reference.py'), ...files]);
  const layers = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return {
    seconds: layers.reduce((sum, { seconds }) => sum + seconds, 0),
    ratios: layers.map(({ layer, relativeError }) => relativeError / referenceError(layer.replace(/\.weight$/, ''))),
  };
}

/** One run of the command line on all files: its wall seconds, start of the process included. */
function runOurs(effort, method = 'double-sparse') {
  const { wall, output } = timed(process.execPath, [
    'dist/cli/main.js',
    'layers',
    ...files,
    '--methods',
    method,
    '--effort',
    effort,
    '--json',
  ]);
  const { layers } = JSON.parse(output);
  const metrics = layers.map(({ name, methods }) => ({ name, ...methods[method] }));
  const sum = (key) => metrics.reduce((total, each) => total + each[key], 0);
  return {
    seconds: wall,
    ratios: metrics.map(({ name, relativeError }) => relativeError / referenceError(name)),
    inProducts: sum('productSeconds') / sum('seconds'),
    withinBudget: metrics.every(({ nonzeros, budget }) => nonzeros <= budget),
  };
}

const hasTorch = spawnSync('python3', ['-c', 'import torch, safetensors']).status === 0;
const recorded = Object.values(golden)
  .map((layer) => layer['double-sparse-reference'].seconds)
  .filter((value) => value !== undefined);
const runs = new Map();
const add = (name, run) => runs.set(name, [...(runs.get(name) ?? []), run]);
for (let repeat = 0; repeat < Number(values.repeats); repeat++) {
  if (hasTorch) add('PyTorch, reference schedule', runTorch());
  add('ours, reference schedule', runOurs('default', 'double-sparse-reference'));
  for (const effort of ['fast', 'default', 'max']) add(`ours, ${effort}`, runOurs(effort));
}
const torchSeconds = hasTorch
  ? median(runs.get('PyTorch, reference schedule').map(({ seconds }) => seconds))
  : recorded.reduce((sum, value) => sum + value, 0);
if (!hasTorch)
  console.log(
    `Python's torch is absent: ${torchSeconds.toFixed(1)} s recorded for ${recorded.length} of ${Object.keys(golden).length} layers stand in`,
  );
for (const [name, list] of runs) {
  const seconds = median(list.map((run) => run.seconds));
  const { ratios, inProducts, withinBudget } = list[0];
  const extra =
    inProducts === undefined
      ? ''
      : `, ${(100 * inProducts).toFixed(0)} % of worker time in products${withinBudget ? '' : ', OVER BUDGET'}`;
  console.log(
    `${name.padEnd(30)} ${seconds.toFixed(1).padStart(6)} s  ${(torchSeconds / seconds).toFixed(1).padStart(5)} x  error / reference: geometric mean ${geometricMean(ratios).toFixed(3)}, worst ${Math.max(...ratios).toFixed(3)}${extra}`,
  );
}
