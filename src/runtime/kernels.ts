import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';

/** Everything that kernels/ exports; matrices, vectors and tables are byte addresses. */
export interface RuntimeKernels {
  bitmaskProduct(
    type: number,
    y: number,
    x: number,
    values: number,
    mask: number,
    starts: number,
    stride: number,
    first: number,
    end: number,
    bias: number,
    accumulate: number,
  ): void;
  indexedProduct(
    type: number,
    y: number,
    x: number,
    values: number,
    indices: number,
    starts: number,
    first: number,
    end: number,
    bias: number,
    accumulate: number,
  ): void;
  denseProduct(
    type: number,
    y: number,
    x: number,
    values: number,
    columns: number,
    first: number,
    end: number,
    bias: number,
    accumulate: number,
  ): void;
  expandBitmask(
    type: number,
    target: number,
    values: number,
    mask: number,
    starts: number,
    stride: number,
    first: number,
    end: number,
  ): void;
  expandIndexed(
    type: number,
    target: number,
    values: number,
    indices: number,
    starts: number,
    width: number,
    first: number,
    end: number,
  ): void;
  expandDense(type: number, target: number, values: number, count: number): void;
  attentionScores(
    scores: number,
    query: number,
    keys: number,
    headSize: number,
    slots: number,
    start: number,
    count: number,
    scale: number,
  ): void;
  mixValues(
    target: number,
    weights: number,
    values: number,
    headSize: number,
    slots: number,
    start: number,
    count: number,
    scale: number,
  ): void;
}

/** Builds of the kernels. `relaxed` has fused multiply-add and a shuffle without bounds. */
export const kernelBuilds = ['plain', 'relaxed'] as const;
export type KernelBuild = (typeof kernelBuilds)[number];

const files: Readonly<Record<KernelBuild, string>> = {
  plain: './kernels.wasm',
  relaxed: './kernels-relaxed.wasm',
};

/** Standard since 2024; Node 20 has it behind a flag that may be set at any time before the kernels are compiled. */
const relaxedFlag = '--experimental-wasm-relaxed-simd';

/** The compiled kernels, which go to threads as they are. */
export function compileKernels(build: KernelBuild): WebAssembly.Module {
  const bytes = new Uint8Array(readFileSync(new URL(files[build], import.meta.url)));
  return new WebAssembly.Module(bytes);
}

/** The fastest build that this machine takes. */
export function fastestBuild(): KernelBuild {
  const bytes = new Uint8Array(readFileSync(new URL(files.relaxed, import.meta.url)));
  if (WebAssembly.validate(bytes)) return 'relaxed';
  setFlagsFromString(relaxedFlag);
  return WebAssembly.validate(bytes) ? 'relaxed' : 'plain';
}

export function instantiateRuntimeKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): RuntimeKernels {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as RuntimeKernels;
}
