export type { ImageSource } from './calibration/images/image-source.js';
export { type ImageLabels, readLabels } from './calibration/images/labels.js';
export { openImages } from './calibration/images/open-images.js';
export { type Preprocessing, preprocessingSchema } from './calibration/images/options.js';
export { type Layer, readLayers } from './compression/layer-files.js';
export { type LayersOptions, layersOptionsSchema } from './compression/layers-options.js';
export { type LayerResult, type LayersProgress, type LayersRun, runLayers } from './compression/run-layers.js';
export { DoubleSparseError, type ErrorCode, type ErrorData } from './errors.js';
export type { Accuracy } from './evaluation/accuracy.js';
export { evaluateImages, type ImageEvaluation, type ImageEvaluationOptions } from './evaluation/evaluate-images.js';
export type { Parity } from './evaluation/parity.js';
export type {
  Effort,
  Factorization,
  FactorizationMethod,
  FactorizationMetrics,
  FactorizationOptions,
} from './factorization/factorization.js';
export { type DoubleSparseFactors, factorize } from './factorization/factorize.js';
export { type MethodName, methodNames, methods } from './factorization/registry.js';
export type { OnnxModel } from './formats/onnx/model.js';
export { openOnnx } from './formats/onnx/reader.js';
export { SafetensorsFile } from './formats/safetensors/reader.js';
export { Compute } from './linalg/compute.js';
export { type Engine, type EngineName, engineNames } from './linalg/engine.js';
export { createEngine } from './linalg/engines/select.js';
export { type Matrix, matrix, zeros } from './linalg/matrix.js';
export { inspectOnnx, type OnnxInspection } from './report/onnx-inspection.js';
export type { ChatMessage } from './runtime/generation/chat-template.js';
export type { Prompt } from './runtime/generation/encode-prompt.js';
export {
  type EndReason,
  type GenerateOptions,
  type GenerationResult,
  generate,
} from './runtime/generation/generate.js';
export { type GenerationTokenizer, openGenerationTokenizer } from './runtime/generation/generation-tokenizer.js';
export { generationOptionsSchema } from './runtime/generation/options.js';
export { TextGenerator } from './runtime/generation/text-generator.js';
export { type LoadedModel, loadTokenModel, type RuntimeOptions } from './runtime/load-model.js';
export type { TokenModel } from './runtime/token-model.js';
