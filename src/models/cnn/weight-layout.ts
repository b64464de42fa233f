import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { firstNonFinite } from '../../linalg/finite.js';
import { type Matrix, matrix, transpose } from '../../linalg/matrix.js';
import type { CnnLayer } from './layer.js';

/**
 * The weight of a layer as a matrix, outputs x inputs. Of a convolution: one row an output channel; columns are the
 * channels of its group, each with all kernel positions.
 * @throws DoubleSparseError `non-finite-value`; those of reading the tensor.
 */
export function readLayerWeight(model: OnnxModel, { name, weight, transposed, rows, columns }: CnnLayer): Matrix {
  const values = model.readFloats(weight.tensor);
  const bad = firstNonFinite(values);
  if (bad >= 0) {
    throw new DoubleSparseError('non-finite-value', `the weight of ${name} holds ${values[bad]} at index ${bad}`, {
      data: { layer: name, index: bad },
      hint: 'the model itself is damaged: export it again',
    });
  }
  return transposed ? transpose(matrix(columns, rows, values)) : matrix(rows, columns, values);
}

/** Shapes of the weight tensors of two factors with k inner channels a group. */
export function factorShapes(
  { kind, transposed, rows, columns, groups, weight }: CnnLayer,
  k: number,
): { a: readonly number[]; b: readonly number[] } {
  if (kind === 'conv') {
    const [, inputs, ...kernel] = weight.shape as [number, number, ...number[]];
    return { b: [groups * k, inputs, ...kernel], a: [rows, k, ...kernel.map(() => 1)] };
  }
  return transposed ? { b: [columns, k], a: [k, rows] } : { b: [k, columns], a: [rows, k] };
}

/** The values of a weight, given as outputs x inputs, in the order of its tensor. */
export function inLayout({ transposed }: CnnLayer, matrix: Matrix): Float32Array {
  return transposed ? transpose(matrix).data : matrix.data;
}
