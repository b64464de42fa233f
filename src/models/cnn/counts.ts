import { DoubleSparseError } from '../../errors.js';
import { elementCount } from '../../linalg/element-count.js';
import type { CnnLayer, KeptLayer } from './layer.js';

/** Shapes of tensors by name, for one input of the model. */
export type TensorShapes = ReadonlyMap<string, readonly number[]>;

/**
 * Multiply-adds of a layer for one input: every nonzero is used once a position of the output (all batch entries and
 * pixels, or rows of a product), in every use. The two factors of a layer have the same positions.
 * @param nonzeros rows x columns for the weight itself.
 * @param shapes of the outputs of its uses.
 * @throws DoubleSparseError `unknown-name`, `shape-mismatch`
 */
export function layerMultiplyAdds({ uses, rows }: CnnLayer, nonzeros: number, shapes: TensorShapes): number {
  return uses.reduce((sum, { output }) => sum + nonzeros * positions(output, rows, shapes), 0);
}

/** Multiply-adds of a kept layer for one input, undefined where they cannot be told from the output alone. */
export function keptMultiplyAdds(
  { output, channels, parameters }: KeptLayer,
  shapes: TensorShapes,
): number | undefined {
  return channels === undefined ? undefined : parameters * positions(output, channels, shapes);
}

function positions(output: string, channels: number, shapes: TensorShapes): number {
  const shape = shapes.get(output);
  if (!shape) {
    throw new DoubleSparseError('unknown-name', `the shape of ${output} is not given`, { data: { tensor: output } });
  }
  const count = elementCount(shape) / channels;
  if (Number.isInteger(count)) return count;
  throw new DoubleSparseError('shape-mismatch', `${output} has shape [${shape}], not ${channels} channels`, {
    data: { tensor: output, shape, channels },
  });
}
