import { DoubleSparseError } from '../../errors.js';
import type { CompressOptions } from '../compress-options.js';
import { type HiddenStatesShape, hiddenStatesBytes, hiddenStatesLimit } from '../hidden-states.js';

/** Copies of the hidden states while a block is matched: compressed, dense, and what the dense part makes of the compressed. */
export const statesWhileMatching = 3;

/**
 * Refuses options under which blocks cannot be matched.
 * @throws DoubleSparseError `option-out-of-range`
 */
export function checkMatching(options: CompressOptions, shape: HiddenStatesShape): void {
  const { blockSteps, sequential } = options;
  if (blockSteps === 0) return;
  if (sequential === 'dense') {
    throw new DoubleSparseError('option-out-of-range', '--block-steps does not go with --sequential dense', {
      data: { blockSteps, sequential },
      hint: 'blocks are matched behind the compressed ones: use --sequential block or group',
    });
  }
  if (shape.sequences < 2) {
    throw new DoubleSparseError(
      'option-out-of-range',
      `--block-steps needs two calibration windows, not ${shape.sequences}`,
      {
        data: { blockSteps, samples: shape.sequences },
        hint: 'some train, others decide when to stop: use more --samples',
      },
    );
  }
  const [bytes, limit] = [hiddenStatesBytes(shape), hiddenStatesLimit(options)];
  if (bytes <= limit) return;
  const mebibytes = Math.ceil(bytes / 2 ** 20);
  throw new DoubleSparseError(
    'option-out-of-range',
    `--block-steps needs hidden states in memory: ${mebibytes} MiB, --hidden-states-memory allows ${options.hiddenStatesMemory}`,
    {
      data: { bytes, limit },
      hint: `use fewer --samples, or --hidden-states-memory ${mebibytes} where there is ${statesWhileMatching} times as much memory`,
    },
  );
}
