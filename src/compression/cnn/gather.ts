import { ImageModel } from '../../calibration/image-model.js';
import { addProductInputs, InputGram, type InputStatistics } from '../../calibration/input-gram.js';
import { PatchGram } from '../../calibration/patch-gram.js';
import { type Tensor, tensor } from '../../calibration/tensor.js';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { Compute } from '../../linalg/compute.js';
import type { LayerOutput } from '../../models/cnn/layer-output.js';
import { partialModel } from '../../models/cnn/partial-model.js';
import type { CalibrationImages } from './calibration-images.js';
import type { PlannedLayer } from './planned-layer.js';

/** Statistics of the inputs of a layer: of each use, of each of its groups. */
export type LayerStatistics = readonly (readonly InputStatistics[])[];

export interface GatherOptions {
  readonly layout: 'nchw' | 'nhwc';
  readonly threads: number;
  readonly compute: Compute;
  readonly seed: number;
  /** Output positions of one image that are taken at most. */
  readonly positions: number;
}

/** Statistics of layers' inputs in a model, of all of them in one pass. */
export async function gatherInputs(
  model: OnnxModel,
  layers: readonly PlannedLayer[],
  images: CalibrationImages,
  options: GatherOptions,
): Promise<ReadonlyMap<PlannedLayer, LayerStatistics>> {
  const uses = layers.flatMap((planned) => planned.outputs.map((output) => ({ planned, output })));
  const running = await TensorReader.open(
    model,
    uses.map(({ output }) => output.use.input),
    options,
  );
  const collectors = new Map<LayerOutput, Collector>();
  try {
    for await (const batch of images.batches()) {
      const tensors = await running.run(batch);
      for (const { planned, output } of uses) {
        const input = inputOf(output, tensors);
        const collector = collectors.get(output) ?? new Collector(planned, output, input, false, options);
        collectors.set(output, collector);
        collector.add(input);
      }
    }
  } finally {
    await running.close();
  }
  return new Map(
    layers.map((planned) => [planned, planned.outputs.map((output) => (collectors.get(output) as Collector).finish())]),
  );
}

/**
 * Statistics of one layer's inputs behind the compressed prefix, and of the outputs wanted there: those of the dense
 * model; where a shortcut is added to them, what makes their sum that of the dense model, so that the layer makes up for
 * errors of the shortcut too. A layer that adds what is no constant has none: its weight would take that over, and the
 * node would add it again.
 * @param dense the source model. @param current the same with the layers before compressed.
 */
export async function gatherWithTargets(
  dense: OnnxModel,
  current: OnnxModel,
  planned: PlannedLayer,
  images: CalibrationImages,
  options: GatherOptions,
): Promise<LayerStatistics> {
  const { outputs } = planned;
  if (!outputs.every(({ offsetIsComplete }) => offsetIsComplete))
    return (await gatherInputs(current, [planned], images, options)).get(planned) as LayerStatistics;
  const shortcuts = outputs.flatMap(({ sum }) => (sum ? [sum.other] : []));
  const inputs = outputs.map(({ use }) => use.input);
  const wanted = await TensorReader.open(
    dense,
    outputs.flatMap(({ sum, name }) => (sum ? [name, sum.name] : [name])),
    options,
  );
  let present: TensorReader | undefined;
  const collectors: Collector[] = [];
  try {
    present = await TensorReader.open(current, [...inputs, ...shortcuts], options);
    for await (const batch of images.batches()) {
      const [targets, tensors] = [await wanted.run(batch), await present.run(batch)];
      for (const [i, output] of outputs.entries()) {
        const input = inputOf(output, tensors);
        collectors[i] ??= new Collector(planned, output, input, true, options);
        collectors[i].add(input, targetOf(output, targets, tensors));
      }
    }
  } finally {
    await wanted.close();
    await present?.close();
  }
  return collectors.map((collector) => collector.finish());
}

/** Runs the part of a model that makes some tensors. Its input may be one of them. */
class TensorReader {
  readonly #names: readonly string[];
  readonly #model: ImageModel | undefined;
  readonly #input: string;

  private constructor(names: readonly string[], model: ImageModel | undefined, input: string) {
    this.#names = names;
    this.#model = model;
    this.#input = input;
  }

  static async open(
    model: OnnxModel,
    wanted: readonly string[],
    { layout, threads }: GatherOptions,
  ): Promise<TensorReader> {
    const names = [...new Set(wanted)];
    const initial = new Set(model.initializers.keys());
    const input = model.inputs.find(({ message }) => !initial.has(message.name))?.message.name ?? '';
    const made = names.filter((name) => name !== input);
    const opened = made.length > 0 ? await ImageModel.open(partialModel(model, made), { layout, threads }) : undefined;
    return new TensorReader(made, opened, input);
  }

  async run(batch: Tensor): Promise<ReadonlyMap<string, Tensor>> {
    const tensors = new Map([[this.#input, batch]]);
    const made = await this.#model?.run(batch, this.#names);
    for (const [name, value] of Object.entries(made ?? {})) tensors.set(name, value);
    return tensors;
  }

  async close(): Promise<void> {
    await this.#model?.close();
  }
}

/** Collects the inputs of one use of a layer. */
class Collector {
  readonly #add: (input: Tensor, target?: Tensor) => void;
  readonly #finish: () => InputStatistics[];

  constructor(
    { layer }: PlannedLayer,
    { use }: LayerOutput,
    input: Tensor,
    withTargets: boolean,
    { compute, seed, positions }: GatherOptions,
  ) {
    const targetChannels = withTargets ? layer.rows : 0;
    if (use.geometry) {
      const channels = input.dims[1] ?? 0;
      const { groups } = layer;
      const gram = new PatchGram(compute, {
        layer: use.name,
        geometry: use.geometry,
        channels,
        groups,
        targetChannels,
        maximumPositions: positions,
        seed,
      });
      this.#add = (each, target) => gram.add(each, target);
      this.#finish = () => gram.finish();
    } else {
      const gram = new InputGram(compute, layer.columns, targetChannels);
      this.#add = (each, target) => addProductInputs(gram, layer.columns, each, use.name, target);
      this.#finish = () => [gram.finish()];
    }
  }

  add(input: Tensor, target?: Tensor): void {
    this.#add(input, target);
  }

  finish(): InputStatistics[] {
    return this.#finish();
  }
}

function inputOf({ use, transposedInput }: LayerOutput, tensors: ReadonlyMap<string, Tensor>): Tensor {
  const input = tensors.get(use.input);
  if (!input) {
    throw new DoubleSparseError('unknown-name', `the input ${use.input} of ${use.name} is not in the model`, {
      data: { layer: use.name, tensor: use.input },
    });
  }
  if (!transposedInput) return input;
  const [rows = 1, columns = 1] = input.dims;
  const data = new Float32Array(input.data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) data[j * rows + i] = input.data[i * columns + j] as number;
  return { dims: [columns, rows], data };
}

/** What the output should be: that of the dense model, or what the present shortcut lacks to the dense sum. */
function targetOf(
  { name, sum }: LayerOutput,
  wanted: ReadonlyMap<string, Tensor>,
  present: ReadonlyMap<string, Tensor>,
): Tensor {
  const output = wanted.get(name) as Tensor;
  const total = sum && wanted.get(sum.name);
  const other = sum && present.get(sum.other);
  const shape = output.dims.join();
  // Where one of the summands is broadcast, there is no output for each difference.
  if (total?.dims.join() !== shape || other?.dims.join() !== shape) return output;
  const data = new Float32Array(total.data.length);
  for (let i = 0; i < data.length; i++) data[i] = (total.data[i] as number) - (other.data[i] as number);
  return tensor(output.dims, data);
}
