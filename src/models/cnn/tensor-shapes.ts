import { OnnxSession } from '../../calibration/onnx-session.js';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { serializeOnnx } from '../../formats/onnx/writer.js';
import { elementCount } from '../../linalg/element-count.js';
import type { TensorShapes } from './counts.js';

/** 1 GB of input: more than any image, and what a file can say is not taken from memory. */
const maximumInputValues = 2 ** 28;

/**
 * Shapes of tensors for one input, found by running the model on zeros.
 * @param names of tensors of the graph.
 * @param inputShape of the input. Default: that of the model, one entry of a batch of any size.
 * @returns undefined where the model leaves other sizes open and no shape is given, or has not one input.
 * @throws DoubleSparseError `option-out-of-range` for an input that is too large; those of {@link OnnxSession}
 */
export async function tensorShapes(
  model: OnnxModel,
  names: readonly string[],
  inputShape?: readonly number[],
): Promise<{ readonly shapes: TensorShapes; readonly input: readonly number[] } | undefined> {
  const session = await OnnxSession.open(serializeOnnx(model.withOutputs(names)), { path: model.path });
  try {
    const [input, ...others] = session.inputs;
    if (!input || others.length > 0) return undefined;
    const [batch, ...rest] = input.dims;
    const dims = inputShape ?? [typeof batch === 'number' && batch > 0 ? batch : 1, ...rest];
    if (input.dims.length === 0 && !inputShape) return undefined;
    const sizes = dims.filter((size): size is number => typeof size === 'number' && size > 0);
    if (sizes.length < dims.length) return undefined;
    const count = elementCount(sizes);
    if (count > maximumInputValues) {
      throw new DoubleSparseError('option-out-of-range', `${model.path}: an input of [${sizes}] is too large to run`, {
        data: { path: model.path, shape: sizes, limit: maximumInputValues },
        hint: 'give a smaller --input-shape',
      });
    }
    const feeds = { [input.name]: { dims: sizes, data: new Float32Array(count) } };
    // No names are no outputs, not all of them.
    const results = names.length === 0 ? {} : await session.run(feeds, names);
    return {
      shapes: new Map(Object.entries(results).map(([name, tensor]) => [name, tensor.dims])),
      input: sizes,
    };
  } finally {
    await session.close();
  }
}
