import type { ImageModel } from '../../calibration/image-model.js';
import type { ImageSource } from '../../calibration/images/image-source.js';
import type { Preprocessing } from '../../calibration/images/options.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { Compute } from '../../linalg/compute.js';
import { createCompute } from '../../linalg/create-compute.js';
import type { EngineChoice } from '../../linalg/engines/select.js';
import { comparableOutputs } from '../../models/cnn/comparable-outputs.js';
import { MatrixPool } from '../matrix-pool.js';
import { CalibrationImages } from './calibration-images.js';
import { type GatherOptions, gatherInputs, type LayerStatistics } from './gather.js';
import type { CnnCompressOptions } from './options.js';
import { type CnnPlan, type PlannedLayer, planCnn } from './planned-layer.js';
import { wavesOf } from './waves.js';

/** Covariances in memory at a time (1 GiB). */
const waveBytes = 2 ** 30;

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
  /** Outputs of the model by which layers are weighed and what is made is verified, and the others. */
  readonly outputs: ReturnType<typeof comparableOutputs>;
  readonly images: CalibrationImages;
  readonly gathering: GatherOptions;
  readonly compute: Compute;
  readonly pool: MatrixPool;
  /** Layers whose inputs are known at one time. */
  readonly waves: readonly (readonly PlannedLayer[])[];
  #gathered: GatheredWave | undefined;

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
    this.outputs = comparableOutputs(model, opened.session.outputs);
    this.waves = wavesOf(this.plan.layers, waveBytes);
    const calibration = { preprocessing, augmentation: { flip, shift, passes }, samples, seed };
    this.images = new CalibrationImages(source, opened, calibration);
    this.pool = new MatrixPool({ choice, threads, jobs: 2 * threads });
    // As many BLAS threads as each worker has: a number of the whole process, which their jobs set at any moment.
    this.compute = createCompute(choice, this.pool.blasThreads);
    this.gathering = { layout: preprocessing.layout, threads, compute: this.compute, seed, positions };
  }

  /**
   * Statistics of a layer's inputs in the dense model. Those of its wave are gathered in one pass over the images, and
   * kept until another wave is asked for.
   */
  async denseInputsOf(planned: PlannedLayer): Promise<LayerStatistics> {
    const wave = this.waves.find((layers) => layers.includes(planned)) as readonly PlannedLayer[];
    if (this.#gathered?.wave !== wave) {
      this.releaseInputs();
      this.#gathered = new GatheredWave(wave, () => gatherInputs(this.model, wave, this.images, this.gathering));
    }
    return (await this.#gathered.inputs).get(planned) as LayerStatistics;
  }

  /** Seconds that a run would need by itself for inputs that are there already. */
  get keptSeconds(): number {
    return this.waves.length === 1 ? (this.#gathered?.seconds ?? 0) : 0;
  }

  /** Gives the memory of the inputs back. */
  releaseInputs(): void {
    this.#gathered = undefined;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}

class GatheredWave {
  readonly wave: readonly PlannedLayer[];
  readonly inputs: Promise<ReadonlyMap<PlannedLayer, LayerStatistics>>;
  seconds = 0;

  constructor(wave: readonly PlannedLayer[], gather: () => Promise<ReadonlyMap<PlannedLayer, LayerStatistics>>) {
    this.wave = wave;
    const start = performance.now();
    this.inputs = gather().then((inputs) => {
      this.seconds = (performance.now() - start) / 1000;
      return inputs;
    });
  }
}
