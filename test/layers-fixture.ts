import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SafetensorsFile } from '../src/formats/safetensors/reader.js';
import type { Matrix } from '../src/linalg/matrix.js';

const folder = fileURLToPath(new URL('../../shared/data/layers/', import.meta.url));

/** Why tests on real layers cannot run, if they cannot. */
export const layersMissing = existsSync(`${folder}reference.json`) ? undefined : `${folder} is absent`;

/** Measured errors at sparsity 0.5: layer -> method -> relative error. */
export function referenceErrors(): Record<string, Record<string, { relativeError: number }>> {
  return JSON.parse(readFileSync(`${folder}reference.json`, 'utf8')).layers;
}

/** A layer of SmolLM2-135M with the Gram matrix of its inputs, say `model.layers.15.self_attn.q_proj`. */
export function readLayer(name: string): { weight: Matrix; gram: Matrix } {
  const block = /\.layers\.(\d+)\./.exec(name)?.[1];
  const file = new SafetensorsFile(`${folder}smollm2-block${block}.safetensors`);
  try {
    const weight = file.readMatrix(`${name}.weight`);
    return { weight, gram: file.readMatrix(file.header.metadata.get(`${name}.weight`) as string) };
  } finally {
    file.close();
  }
}
