import type { ConvolutionGeometry } from '../../calibration/convolution-geometry.js';
import type { OnnxNode } from '../../formats/onnx/model.js';
import type { FloatConstant } from './constants.js';

export type LayerKind = 'conv' | 'matmul' | 'gemm';

/** What is added to every position of a layer's output. */
export type LayerBias =
  | { readonly kind: 'none' }
  /** One value an output channel. */
  | {
      readonly kind: 'constant';
      readonly constant: FloatConstant;
      /** What the stored values are multiplied by (beta of Gemm). */
      readonly factor: number;
      /** The node that adds it: the layer's own, or the Add behind a MatMul. */
      readonly node: OnnxNode;
    }
  | { readonly kind: 'other'; readonly reason: string };

/** A BatchNormalization in inference mode whose parameters are constants: y = scale (x - mean) / sqrt(variance + epsilon) + shift. */
export interface BatchNormalization {
  readonly node: OnnxNode;
  readonly name: string;
  /** The axis of channels, always 1 in ONNX. */
  readonly axis: 1;
  readonly epsilon: number;
  readonly scale: FloatConstant;
  readonly shift: FloatConstant;
  readonly mean: FloatConstant;
  readonly variance: FloatConstant;
}

/** One node that applies a layer's weight. */
export interface LayerUse {
  readonly node: OnnxNode;
  readonly name: string;
  /** Names of the tensors before and behind the node. */
  readonly input: string;
  readonly output: string;
  /** Of convolutions. */
  readonly geometry: ConvolutionGeometry | undefined;
  readonly bias: LayerBias;
  /** Reads the output, and nothing else does. */
  readonly batchNormalization: BatchNormalization | undefined;
}

/** A weight that can be replaced, and the nodes that apply it. */
export interface CnnLayer {
  /** Of its first node; unique. */
  readonly name: string;
  readonly kind: LayerKind;
  readonly weight: FloatConstant;
  /** Is the weight stored in x out (MatMul; Gemm without transB) instead of out x in? */
  readonly transposed: boolean;
  /** Shape of the weight as a matrix: outputs x inputs of one group (channels of a group times kernel positions). */
  readonly rows: number;
  readonly columns: number;
  /** Of convolutions; 1 for matrix products. Rows are stacked group by group. */
  readonly groups: number;
  /** More than one where nodes share the weight. */
  readonly uses: readonly LayerUse[];
}

/** A node with weights that stays as it is. */
export interface KeptLayer {
  readonly name: string;
  readonly opType: string;
  /** Name of what it makes. */
  readonly output: string;
  /** Channels of that, where every weight is multiplied once a position of it (convolutions and products). */
  readonly channels: number | undefined;
  /** Weights it reads, 0 where that is not known. */
  readonly parameters: number;
  readonly reason: string;
}
