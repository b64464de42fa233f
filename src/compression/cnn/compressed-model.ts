import type { OnnxModel } from '../../formats/onnx/model.js';
import type { LayerStoredWeight } from '../../models/cnn/rewrite.js';
import type { CnnLayerResult } from './cnn-run.js';
import type { CompressedLayer } from './replacement.js';

/** A new model in memory, and how it came about. */
export interface CompressedModel {
  readonly model: OnnxModel;
  readonly weights: readonly LayerStoredWeight[];
  readonly compressed: readonly CompressedLayer[];
  readonly layers: readonly CnnLayerResult[];
  /** What an earlier run computed for this one too is counted. */
  readonly seconds: number;
}
