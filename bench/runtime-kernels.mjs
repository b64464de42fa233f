// What does one product with a matrix in each stored form cost, and how near is it to the memory's bandwidth? One
// thread, matrices of SmolLM2's shape, so many of them that they come from memory; medians of interleaved rounds.
// usage: node bench/runtime-kernels.mjs [--rows 3072] [--columns 576] [--megabytes 64] [--rounds 15]
import { parseArgs } from 'node:util';
import { packFactor } from '../dist/formats/container/packed-factor.js';
import { compileKernels, fastestBuild, instantiateRuntimeKernels } from '../dist/runtime/kernels.js';
import { placeBitmask, placeIndexed } from '../dist/runtime/place-factor.js';
import { RuntimeMemory } from '../dist/runtime/runtime-memory.js';
import { multiplyVector } from '../dist/runtime/stored-product.js';

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string', default: '3072' },
    columns: { type: 'string', default: '576' },
    megabytes: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '15' },
  },
});
const [rows, columns, megabytes, rounds] = ['rows', 'columns', 'megabytes', 'rounds'].map((name) =>
  Number(flags[name]),
);
const copies = Math.ceil((megabytes * 1e6) / (rows * columns * 2));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

const random = (density) => {
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) if (Math.random() < density) data[i] = Math.random() - 0.5;
  return { rows, columns, data };
};

// Node 20 has relaxed SIMD behind a flag, which this sets.
fastestBuild();
const cases = [];
for (const build of ['plain', 'relaxed']) {
  let module;
  try {
    module = compileKernels(build);
  } catch {
    console.log(`this Node has no ${build} SIMD`);
    continue;
  }
  const memory = new RuntimeMemory();
  const x = memory.allocate(4 * columns);
  memory.floats(x, columns).fill(0.01);
  const y = memory.allocate(4 * rows);
  const add = (name, place) => {
    const before = memory.size;
    const matrices = Array.from({ length: copies }, place);
    cases.push({
      name: `${build} ${name}`,
      bytes: (memory.size - before) / copies,
      matrices,
      memory,
      module,
      x,
      y,
      times: [],
    });
  };
  for (const type of ['BF16', 'F16', 'F32']) {
    add(`dense ${type}`, () => {
      const bytes = rows * columns * (type === 'F32' ? 4 : 2);
      const values = memory.allocate(bytes);
      // Pages that were never written would all be one page of zeros in the cache.
      memory.bytes(values, bytes).fill(0x3c);
      return { kind: 'dense', rows, columns, type, values };
    });
  }
  for (const density of [0.36, 0.25, 0.18, 0.1]) {
    for (const type of ['BF16', 'F16']) {
      const factor = packFactor(random(density), type);
      add(`bitmask ${type} ${density}`, () => placeBitmask(memory, factor));
      add(`indexed ${type} ${density}`, () => placeIndexed(memory, factor));
    }
  }
}
for (let round = 0; round < rounds; round++) {
  for (const each of cases) {
    each.kernels ??= instantiateRuntimeKernels(each.module, each.memory.memory);
    const start = performance.now();
    for (const matrix of each.matrices) multiplyVector(each.kernels, matrix, each.y, each.x, 0, rows, 0, false);
    each.times.push(((performance.now() - start) / copies) * 1e3);
  }
}
console.log(
  `${rows} x ${columns}, ${copies} matrices, one thread\n${'form'.padEnd(28)} us/product  ns/8 positions  GB/s`,
);
for (const { name, bytes, times } of cases) {
  const us = median(times);
  console.log(
    `${name.padEnd(28)} ${us.toFixed(0).padStart(10)}  ${((us * 8000) / rows / columns).toFixed(2).padStart(14)}  ${(bytes / us / 1e3).toFixed(1).padStart(4)}`,
  );
}
