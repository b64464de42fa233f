import { DoubleSparseError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix.js';

/**
 * Embeddings of a sequence.
 * @param embedding vocabularySize x hiddenSize.
 * @param target ids.length x hiddenSize, overwritten.
 * @throws DoubleSparseError `option-out-of-range` for an id outside of the vocabulary
 */
export function embed(embedding: Matrix, ids: ArrayLike<number>, target: Matrix): void {
  checkIds(ids, embedding.rows);
  const width = embedding.columns;
  for (let position = 0; position < ids.length; position++) {
    const start = (ids[position] as number) * width;
    target.data.set(embedding.data.subarray(start, start + width), position * width);
  }
}

/** @throws DoubleSparseError `option-out-of-range` for an id outside of 0 .. vocabularySize - 1 */
export function checkIds(ids: ArrayLike<number>, vocabularySize: number): void {
  for (let position = 0; position < ids.length; position++) {
    const id = ids[position] as number;
    if (Number.isInteger(id) && id >= 0 && id < vocabularySize) continue;
    throw new DoubleSparseError(
      'option-out-of-range',
      `token ${id} at position ${position} is outside of the model's vocabulary of ${vocabularySize}`,
      {
        data: { id, position, vocabularySize },
        hint: 'tokenizer and weights belong to different models',
      },
    );
  }
}
