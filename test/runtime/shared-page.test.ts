import { expect, it } from 'vitest';
import { instantiateKernels } from '../../src/linalg/wasm-kernels.js';
import { compileKernels, fastestBuild, instantiateRuntimeKernels } from '../../src/runtime/kernels.js';
import { laneOrderAddress, laneOrderBytes } from '../../src/runtime/lane-orders.js';
import { RuntimeMemory } from '../../src/runtime/runtime-memory.js';

const firstPage = 65_536;

it('static data of both sets of kernels leaves the lane orders as they are, and stays in the first page', () => {
  const runtime = new RuntimeMemory();
  const page = runtime.bytes(0, firstPage);
  const before = page.slice();
  instantiateKernels(runtime);
  const written = page.map((byte, i) => byte ^ (before[i] as number));
  expect(written.some((byte) => byte !== 0)).toBe(true);
  expect(written.findLastIndex((byte) => byte !== 0)).toBeLessThan(laneOrderAddress);

  const afterLinearAlgebra = page.slice();
  instantiateRuntimeKernels(compileKernels(fastestBuild()), runtime.memory);
  const table = (bytes: Uint8Array) => bytes.slice(laneOrderAddress, laneOrderAddress + laneOrderBytes);
  expect(table(page)).toEqual(table(afterLinearAlgebra));
});
