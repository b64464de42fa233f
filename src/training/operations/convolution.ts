import { blockOf } from '../../linalg/engine.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import { imagesOf, type Windows } from '../windows.js';
import type { OperationContext } from './context.js';
import type { LinearLayer } from './linear.js';
import { addRow, sumRows } from './rows.js';

export interface ConvolutionShape extends Windows {
  readonly groups: number;
}

/**
 * Convolution through patches P of the input (im2col): y = P W^T + b, dW = g^T P, dP = g W scattered back. Patches are
 * made again for the backward pass.
 * @param layer weight out x (places of the kernel * channels of a group), groups below each other.
 * @param x (images * positions) x channels. @returns (images * output positions) x out.
 */
export function convolution(
  context: OperationContext,
  tape: Tape,
  { weight, bias }: LinearLayer,
  shape: ConvolutionShape,
  x: Variable,
): Variable {
  const { compute, backward: kernels } = context;
  const { height, width, groups } = shape;
  const out = weight.value.rows;
  const [channels, perGroup] = [x.value.columns / groups, out / groups];
  const result = tape.variable(imagesOf(shape, x.value) * height.output * width.output, out);
  if (bias) addRow(result.value, bias.value.data);
  const ofGroup = (m: Matrix, group: number) => blockOf(m, 0, group * perGroup, m.rows, perGroup);
  const rowsOfGroup = (m: Matrix, group: number) => blockOf(m, group * perGroup, 0, perGroup, m.columns);
  const newPatches = () => compute.matrix(result.value.rows, weight.value.columns);
  for (let group = 0; group < groups; group++) {
    compute.scope(() => {
      const patches = newPatches();
      kernels.gatherPatches(shape, x.value, { first: group * channels, count: channels }, patches);
      const options = { transposeB: true, beta: bias ? 1 : 0 };
      compute.gemm(patches, rowsOfGroup(weight.value, group), ofGroup(result.value, group), options);
    });
  }
  tape.record(() => {
    const gradient = tape.gradientOf(result);
    const toX = x.constant ? undefined : tape.gradientOf(x);
    const { parameter } = weight;
    compute.scope(() => {
      const toWeight = parameter && compute.matrix(out, weight.value.columns);
      for (let group = 0; group < groups; group++) {
        compute.scope(() => {
          const patches = newPatches();
          if (toWeight) {
            kernels.gatherPatches(shape, x.value, { first: group * channels, count: channels }, patches);
            compute.gemm(ofGroup(gradient, group), patches, rowsOfGroup(toWeight, group), { transposeA: true });
          }
          if (!toX) return;
          compute.gemm(ofGroup(gradient, group), rowsOfGroup(weight.value, group), patches);
          kernels.scatterPatches(shape, patches, { first: group * channels, count: channels }, toX);
        });
      }
      if (parameter && toWeight) context.addGradient(parameter, toWeight);
      if (bias?.parameter) context.addGradient(bias.parameter, sumRows(context, gradient));
    });
  });
  return result;
}
