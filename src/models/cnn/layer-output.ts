import type { OnnxModel } from '../../formats/onnx/model.js';
import { floatAttribute, integerAttribute, isStandard } from '../../formats/onnx/node.js';
import { onlyReader, readBias } from './bias.js';
import type { GraphIndex } from './graph-index.js';
import type { BatchNormalization, CnnLayer, LayerUse } from './layer.js';

/**
 * What a use of a layer makes of its inputs x before anything that is not linear, channel by channel:
 * y = gain (W x) + offset. A batch normalisation behind the layer is part of it.
 */
export interface LayerOutput {
  readonly use: LayerUse;
  /** Of the tensor that holds y. */
  readonly name: string;
  readonly gain: Float64Array;
  readonly offset: Float64Array;
  /** Is the offset ours to change? */
  readonly offsetIsFree: boolean;
  /** Is the offset all that is added to gain (W x)? Else the node adds a bias that is no constant, too. */
  readonly offsetIsComplete: boolean;
  /** The batch normalisation whose parameters are part of gain and offset. */
  readonly batchNormalization: BatchNormalization | undefined;
  /** Where y is read by an Add alone (of a shortcut): what that makes, and the other summand. */
  readonly sum: { readonly name: string; readonly other: string } | undefined;
  /** Is the input read as columns (Gemm with transA)? */
  readonly transposedInput: boolean;
}

/**
 * @param foldNormalization count the batch normalisation in; not possible where uses of one weight have different ones.
 */
export function layerOutput(
  model: OnnxModel,
  index: GraphIndex,
  { kind, rows }: CnnLayer,
  use: LayerUse,
  foldNormalization: boolean,
): LayerOutput {
  const { message } = use.node;
  const gain = new Float64Array(rows).fill(kind === 'gemm' ? floatAttribute(message, 'alpha', 1) : 1);
  const offset = Float64Array.from(readBias(model, use, rows) ?? new Float32Array(rows));
  const normalization = foldNormalization ? use.batchNormalization : undefined;
  if (normalization) fold(model, normalization, gain, offset);
  const behind = use.bias.kind === 'constant' && use.bias.node !== use.node ? use.bias.node : undefined;
  const last = normalization?.node ?? behind ?? use.node;
  const name = last.message.output[0] as string;
  const reader = onlyReader(index, name)?.message;
  const other = reader?.input.find((input) => input !== name);
  const isSum = reader !== undefined && isStandard(reader) && reader.opType === 'Add' && reader.output[0] !== undefined;
  const isShortcut = isSum && other !== undefined && !index.constants.has(other) && !index.inputs.has(other);
  return {
    use,
    name,
    gain,
    offset,
    offsetIsFree: normalization !== undefined || use.bias.kind !== 'other',
    offsetIsComplete: use.bias.kind !== 'other',
    batchNormalization: normalization,
    sum: isShortcut ? { name: reader.output[0] as string, other } : undefined,
    transposedInput: kind === 'gemm' && integerAttribute(message, 'transA', 0) === 1,
  };
}

function fold(model: OnnxModel, normalization: BatchNormalization, gain: Float64Array, offset: Float64Array): void {
  const [scale, shift, mean, variance] = (['scale', 'shift', 'mean', 'variance'] as const).map((part) =>
    model.readFloats(normalization[part].tensor),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  for (let c = 0; c < gain.length; c++) {
    const factor = (scale[c] as number) / Math.sqrt((variance[c] as number) + normalization.epsilon);
    gain[c] = (gain[c] as number) * factor;
    offset[c] = ((offset[c] as number) - (mean[c] as number)) * factor + (shift[c] as number);
  }
}
