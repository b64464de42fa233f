// How much accuracy does double-sparse lose next to Optimal Brain Compression? One `dsf compare` for each seed of the
// calibration images; mean and standard error over seeds of the points of top-1 lost, as ten thousand test images and
// one draw of the calibration images cannot tell tenths of a point. Seconds are of each model by itself.
// usage: node bench/images-versus-obc.mjs MODEL.onnx CALIBRATION IMAGES LABELS [--seeds 3] [--sparsities 0.75,0.85,0.9]
//        [--methods auto,obc] [-- more flags of dsf compare, as --mean 0.286 --std 0.353]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const split = process.argv.indexOf('--');
const more = split < 0 ? [] : process.argv.slice(split + 1);
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, split < 0 ? undefined : split),
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '3' },
    sparsities: { type: 'string', default: '0.75,0.85,0.9' },
    methods: { type: 'string', default: 'auto,obc' },
  },
});
const [model, calibration, images, labels] = positionals;
if (!labels) throw new Error('give MODEL.onnx CALIBRATION IMAGES LABELS');
const dsf = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const results = Array.from({ length: Number(values.seeds) }, (_, seed) => {
  const flags = ['--calibration', calibration, '--images', images, '--labels', labels, '--json', ...more];
  const chosen = ['--methods', values.methods, '--sparsities', values.sparsities, '--seed', String(seed)];
  const run = spawnSync(process.execPath, [dsf, 'compare', model, ...flags, ...chosen], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  if (run.status !== 0) throw new Error(`dsf compare ended with ${run.status}`);
  return JSON.parse(run.stdout);
});

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
const standardError = (list) => {
  const average = mean(list);
  return Math.sqrt(mean(list.map((value) => (value - average) ** 2)) / Math.max(1, list.length - 1));
};
const number = (list) =>
  list.length < 2 ? mean(list).toFixed(3) : `${mean(list).toFixed(3)} ± ${standardError(list).toFixed(3)}`;
console.log('sparsity  method      points lost      of the last  1 - cosine  % of other class  seconds');
for (const sparsity of values.sparsities.split(',').map(Number)) {
  const rows = values.methods.split(',').map((method) => {
    const each = results.map(({ dense, rows }) => {
      const { evaluation, seconds } = rows.find((row) => row.method === method && row.sparsity === sparsity);
      const [parity] = Object.values(evaluation.parity);
      const lost = 100 * (dense.evaluation.accuracy.top1 - evaluation.accuracy.top1);
      return { lost, distance: 1 - parity.cosine, other: 100 * (1 - parity.sameClass), seconds };
    });
    const of = (name) => each.map((one) => one[name]);
    return { method, lost: of('lost'), distance: of('distance'), other: of('other'), seconds: of('seconds') };
  });
  const rival = rows.at(-1);
  for (const { method, lost, distance, other, seconds } of rows) {
    const part = mean(lost) / mean(rival.lost);
    console.log(
      `${String(sparsity).padEnd(8)}  ${method.padEnd(10)}  ${number(lost).padEnd(15)}  ${part.toFixed(2).padEnd(11)}  ` +
        `${mean(distance).toExponential(2)}    ${number(other).padEnd(16)}  ${mean(seconds).toFixed(0)}`,
    );
  }
}
