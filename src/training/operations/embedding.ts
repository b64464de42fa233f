import { embed } from '../../models/llama/embedding.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';

/** Rows of the embedding matrix, one for each id. @returns ids.length x hiddenSize */
export function embedding(
  context: OperationContext,
  tape: Tape,
  { value, parameter }: Weight,
  ids: ArrayLike<number>,
): Variable {
  const result = tape.variable(ids.length, value.columns);
  embed(value, ids, result.value);
  if (parameter) {
    tape.record(() => {
      const { compute } = context;
      const { data } = tape.gradientOf(result);
      compute.scope(() => {
        const toEmbedding = compute.matrix(value.rows, value.columns);
        for (let position = 0, at = 0; position < ids.length; position++) {
          let to = (ids[position] as number) * value.columns;
          for (let j = 0; j < value.columns; j++, at++, to++) toEmbedding.data[to]! += data[at] as number;
        }
        context.addGradient(parameter, toEmbedding);
      });
    });
  }
  return result;
}
