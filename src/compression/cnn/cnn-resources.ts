import type { ImageModel } from '../../calibration/image-model.js';
import type { ImageSource } from '../../calibration/images/image-source.js';
import type { Preprocessing } from '../../calibration/images/options.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { Compute } from '../../linalg/compute.js';
import { createCompute } from '../../linalg/create-compute.js';
import type { EngineChoice } from '../../linalg/engines/select.js';
import { MatrixPool } from '../matrix-pool.js';
import { CalibrationImages } from './calibration-images.js';
import { type GatherOptions, gatherInputs, type LayerStatistics } from './gather.js';
import type { CnnCompressOptions } from './options.js';
import { type CnnPlan, type PlannedLayer, planCnn } from './planned-layer.js';

export interface CnnCalibration {
  readonly source: ImageSource;
  readonly preprocessing: Preprocessing;
  /** Default: what the model fixes, else as many as the inputs of all layers fit into some memory for, 32 at most. */
  readonly batchSize?: number | undefined;
}

/** What runs over one model and one set of calibration images have in common. */
export class CnnResources {
  readonly model: OnnxModel;
  readonly plan: CnnPlan;
  readonly images: CalibrationImages;
  readonly gathering: GatherOptions;
  readonly compute: Compute;
  readonly pool: MatrixPool;
  /** Seconds of work that is done once for all runs. */
  sharedSeconds = 0;
  #inputs: ReadonlyMap<PlannedLayer, LayerStatistics> | undefined;

  constructor(
    model: OnnxModel,
    opened: ImageModel,
    { source, preprocessing }: CnnCalibration,
    options: Omit<CnnCompressOptions, 'method' | 'sparsity'>,
    { choice, threads }: { readonly choice: EngineChoice; readonly threads: number },
  ) {
    const { samples, seed, flip, shift, passes, positions } = options;
    this.model = model;
    this.plan = planCnn(model, options);
    const calibration = { preprocessing, augmentation: { flip, shift, passes }, samples, seed };
    this.images = new CalibrationImages(source, opened, calibration);
    this.compute = createCompute(choice, threads);
    this.gathering = { layout: preprocessing.layout, threads, compute: this.compute, seed, positions };
    this.pool = new MatrixPool({ choice, threads, jobs: 2 * threads });
  }

  /** Statistics of the inputs of all layers in the dense model. */
  async denseInputs(): Promise<ReadonlyMap<PlannedLayer, LayerStatistics>> {
    if (!this.#inputs) {
      const start = performance.now();
      this.#inputs = await gatherInputs(this.model, this.plan.layers, this.images, this.gathering);
      this.sharedSeconds += (performance.now() - start) / 1000;
    }
    return this.#inputs;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}
