import { availableParallelism } from 'node:os';
import { ImageModel } from '../../calibration/image-model.js';
import type { SkippedImage } from '../../calibration/images/image-batches.js';
import type { Parity } from '../../evaluation/parity.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { writeVerified } from '../../formats/onnx/write-verified.js';
import { serializeOnnx } from '../../formats/onnx/writer.js';
import { chooseEngine, createChosenEngine } from '../../linalg/engines/select.js';
import type { UncomparedOutput } from '../../models/cnn/comparable-outputs.js';
import type { KeptLayer } from '../../models/cnn/layer.js';
import { type LayerStoredWeight, rewriteModel } from '../../models/cnn/rewrite.js';
import { type CnnCalibration, CnnResources } from './cnn-resources.js';
import { type CnnEvent, type CnnLayerResult, compressLayers, LevelDatabase } from './cnn-run.js';
import type { CompressedModel } from './compressed-model.js';
import { type ModelCosts, modelCosts } from './model-costs.js';
import type { CnnCompressOptions } from './options.js';
import type { PlannedLayer } from './planned-layer.js';
import { refuseOutput } from './refuse-output.js';
import { rewritingOf } from './replacement.js';
import { verifyModel } from './verify-model.js';

/** The inputs of all layers are looked at together, of a batch at a time: 256 MiB. */
const maximumInputBytes = 2 ** 28;

export interface OnnxCompressionResult {
  readonly layers: readonly CnnLayerResult[];
  readonly kept: readonly KeptLayer[];
  readonly weights: readonly LayerStoredWeight[];
  /** Weights of the compressed layers, and what is left of them. */
  readonly entries: number;
  readonly nonzeros: number;
  /** Multiply-adds for one image: of all layers that were compressed and of those kept, where they can be told. */
  readonly denseMultiplyAdds: number;
  readonly multiplyAdds: number;
  /** Of the model files. */
  readonly denseBytes: number;
  readonly bytes: number;
  readonly images: number;
  readonly skipped: readonly SkippedImage[];
  /** Outputs next to those of the source on calibration images, by name. */
  readonly parity: Readonly<Record<string, Parity>>;
  /** Outputs that are not: their values say nothing about how near the models are. */
  readonly notCompared: readonly UncomparedOutput[];
  readonly engine: string;
  readonly seconds: number;
  readonly peakMemoryBytes: number;
}

/** A model being compressed, or several times: what is common to all runs over it. */
export class OnnxCompressor {
  readonly resources: CnnResources;
  readonly costs: ModelCosts;
  readonly #database: LevelDatabase;

  private constructor(resources: CnnResources, costs: ModelCosts) {
    this.resources = resources;
    this.costs = costs;
    this.#database = new LevelDatabase(resources);
  }

  /**
   * Plans, and runs the model once: whatever forbids to compress it is found now.
   * @throws DoubleSparseError of {@link ImageModel}, {@link CnnResources} and {@link modelCosts}
   */
  static async open(
    model: OnnxModel,
    calibration: CnnCalibration,
    options: Omit<CnnCompressOptions, 'method' | 'sparsity'>,
  ): Promise<OnnxCompressor> {
    const threads = options.threads ?? availableParallelism();
    const { batchSize, preprocessing } = calibration;
    const { layout } = preprocessing;
    const opened = await ImageModel.open(model, { layout, threads, batchSize });
    await opened.close();
    const choice = chooseEngine(options.engine);
    const resources = new CnnResources(model, opened, calibration, options, { choice, threads });
    try {
      const costs = await modelCosts(model, resources.plan, resources.images, resources.gathering);
      if (batchSize === undefined && !opened.fixed) {
        const fitting = Math.max(1, Math.floor(maximumInputBytes / costs.inputBytes));
        resources.images.batchSize = Math.min(opened.batchSize, fitting);
      }
      return new OnnxCompressor(resources, costs);
    } catch (error) {
      await resources.close();
      throw error;
    }
  }

  /**
   * One method at one sparsity.
   * @returns the new model, and the layers that it has compressed.
   */
  async compress(options: CnnCompressOptions, report: (event: CnnEvent) => void): Promise<CompressedModel> {
    const { resources, costs } = this;
    const { model } = resources;
    const { unitCosts } = costs;
    const counted = options.cost === 'nonzeros' ? new Map([...unitCosts.keys()].map((each) => [each, 1])) : unitCosts;
    for (const text of notices(resources.outputs, options)) report({ kind: 'status', text, lasting: true });
    const shared = this.#database.secondsOf(options.method) ?? resources.keptSeconds;
    const start = performance.now();
    const { compressed, results } = await compressLayers(resources, this.#database, counted, options, report);
    const { format } = options;
    const rewritten = rewriteModel(model, rewritingOf(model, compressed), { format });
    return { ...rewritten, compressed, layers: results, seconds: shared + (performance.now() - start) / 1000 };
  }

  /** Multiply-adds for one image with these layers compressed. */
  multiplyAdds(results: readonly CnnLayerResult[]): number {
    const { plan } = this.resources;
    const unit = (planned: PlannedLayer): number => this.costs.unitCosts.get(planned) ?? 0;
    return plan.layers.reduce((sum, each, i) => sum + results[i].nonzeros * unit(each), this.costs.kept);
  }

  close(): Promise<void> {
    return this.resources.close();
  }
}

/**
 * Compresses the convolutions and matrix products of an ONNX model, layer by layer, and writes it. The file appears when
 * the bytes have been loaded by onnxruntime and make the outputs that they should.
 * @param calibration images, and what is done to them before the model gets them.
 * @param out path of the new file.
 * @param ready called when all that can be checked beforehand is, and before anything is computed; what it throws ends
 *   the run.
 * @throws DoubleSparseError of {@link refuseOutput}, `verification-failed`; those of planning, calibrating, factorising,
 *   writing
 */
export async function compressOnnx(
  model: OnnxModel,
  calibration: CnnCalibration,
  out: string,
  options: CnnCompressOptions,
  report: (event: CnnEvent) => void = () => {},
  ready: () => Promise<void> = async () => {},
): Promise<OnnxCompressionResult> {
  refuseOutput(model, out, options.force);
  const compressor = await OnnxCompressor.open(model, calibration, options);
  const { resources } = compressor;
  try {
    await ready();
    const start = performance.now();
    const result = await compressor.compress(options, report);
    report({ kind: 'status', text: 'verifying and writing' });
    const { parity, notCompared } = await verifyModel(resources, result, out);
    const bytes = writeVerified(result.model, out, 'Write to another one');
    const { plan, images } = resources;
    const { layers, weights } = result;
    return {
      layers,
      weights,
      kept: plan.kept,
      entries: plan.entries,
      nonzeros: layers.reduce((sum, { nonzeros }) => sum + nonzeros, 0),
      denseMultiplyAdds: compressor.costs.layers + compressor.costs.kept,
      multiplyAdds: compressor.multiplyAdds(layers),
      denseBytes: serializeOnnx(model).byteLength,
      bytes,
      images: images.count - images.skipped.length,
      skipped: images.skipped,
      parity,
      notCompared,
      engine: createChosenEngine(chooseEngine(options.engine)).description,
      seconds: (performance.now() - start) / 1000,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    await compressor.close();
  }
}

/** Outputs that are not compared, and what follows. */
function notices({ compared, others }: CnnResources['outputs'], { allocate }: CnnCompressOptions): string[] {
  const lines = others.map(({ name, reason }) => `the output ${name} is not compared: ${reason}`);
  if (compared.length > 0) return lines;
  const weighed = allocate === 'errors' ? ['no output can be compared: errors of all layers weigh the same'] : [];
  return [...lines, ...weighed, 'no output can be compared: the new model is only loaded by onnxruntime, not verified'];
}
