import { existsSync } from 'node:fs';
import { SafetensorsFile } from '../formats/safetensors/reader.js';
import { SafetensorsWriter } from '../formats/safetensors/writer.js';
import type { Matrix } from '../linalg/matrix.js';

const blocksKey = 'blocks';
const tensorOf = (sequence: number): string => `hidden.${sequence}`;

/**
 * Saves the hidden states of all sequences behind the first `blocks` blocks. Atomic; replaces the older ones.
 * @throws DoubleSparseError `disk-full`, `file-unwritable`
 */
export function writeHiddenStates(path: string, blocks: number, states: readonly Matrix[]): void {
  const tensors = states.map(({ rows, columns }, sequence) => ({
    name: tensorOf(sequence),
    dtype: 'F32',
    shape: [rows, columns],
  }));
  const writer = new SafetensorsWriter(path, tensors, { [blocksKey]: String(blocks) });
  try {
    for (const [sequence, { data }] of states.entries()) writer.writeFloats(tensorOf(sequence), data);
    writer.commit();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/**
 * Fills the states from a file of {@link writeHiddenStates}.
 * @returns the blocks behind which they are; undefined where there is no such file.
 * @throws DoubleSparseError `file-malformed`
 */
export function readHiddenStates(path: string, states: readonly Matrix[]): number | undefined {
  if (!existsSync(path)) return undefined;
  const file = new SafetensorsFile(path);
  try {
    for (const [sequence, target] of states.entries()) file.readMatrix(tensorOf(sequence), () => target);
    return Number(file.header.metadata.get(blocksKey));
  } finally {
    file.close();
  }
}
