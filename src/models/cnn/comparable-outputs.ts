import type { SessionTensor } from '../../calibration/onnx-session.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { isStandard } from '../../formats/onnx/node.js';

/** An output whose values say nothing about how near two models are. */
export interface UncomparedOutput {
  readonly name: string;
  readonly reason: string;
}

const floatTypes = ['float32', 'float16', 'float64'];

/**
 * Operators that choose places by the values that they get: of those, a little difference makes another shape or
 * another meaning.
 */
const choosing: ReadonlySet<string> = new Set([
  'ArgMax',
  'ArgMin',
  'Compress',
  'Loop',
  'Multinomial',
  'NonMaxSuppression',
  'NonZero',
  'TopK',
  'Unique',
]);

/**
 * Which outputs of a model can be compared with those of another one value by value: those of floats whose shape and
 * meaning do not depend on what the model computes.
 * @param outputs as onnxruntime tells them.
 */
export function comparableOutputs(
  model: OnnxModel,
  outputs: readonly SessionTensor[],
): { readonly compared: readonly string[]; readonly others: readonly UncomparedOutput[] } {
  const chosen = chosenTensors(model);
  const others = outputs.flatMap(({ name, type }): UncomparedOutput[] => {
    const operator = chosen.get(name);
    if (operator !== undefined) return [{ name, reason: `what it holds is chosen by ${operator}` }];
    return floatTypes.includes(type) ? [] : [{ name, reason: `it is of type ${type}` }];
  });
  const left = new Set(others.map(({ name }) => name));
  return { compared: outputs.map(({ name }) => name).filter((name) => !left.has(name)), others };
}

/** Tensors behind a choice among values that depend on the input: the operator that chooses, by name. */
function chosenTensors(model: OnnxModel): ReadonlyMap<string, string> {
  const initial = model.initializers;
  const varying = new Set(model.inputs.map(({ message }) => message.name).filter((name) => !initial.has(name)));
  const chosen = new Map<string, string>();
  for (const { message } of model.nodes) {
    const inputs = message.input.filter((name) => varying.has(name));
    // A subgraph may read what is no input of its node.
    const inner = isStandard(message) && ['If', 'Loop', 'Scan'].includes(message.opType);
    if (inputs.length === 0 && !inner) continue;
    const before = inputs.map((name) => chosen.get(name)).find((each) => each !== undefined);
    // Sizes of the images are no values; the sizes of what was chosen are.
    if (message.opType === 'Shape' && before === undefined) continue;
    const chooses = isStandard(message) && choosing.has(message.opType);
    for (const [position, name] of message.output.entries()) {
      varying.add(name);
      // The values of the largest are near to each other in both models, their places need not be.
      const own = chooses && !(message.opType === 'TopK' && position === 0) ? message.opType : undefined;
      const operator = before ?? own;
      if (operator !== undefined) chosen.set(name, operator);
    }
  }
  return chosen;
}
