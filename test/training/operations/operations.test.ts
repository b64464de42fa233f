import { describe, expect, it } from 'vitest';
import { rotaryTable } from '../../../src/models/llama/rope.js';
import { attention } from '../../../src/training/operations/attention.js';
import { classificationLoss } from '../../../src/training/operations/classification-loss.js';
import { embedding } from '../../../src/training/operations/embedding.js';
import { languageLoss } from '../../../src/training/operations/language-loss.js';
import { linear } from '../../../src/training/operations/linear.js';
import { matchingLoss } from '../../../src/training/operations/matching-loss.js';
import { rmsNorm } from '../../../src/training/operations/rms-norm.js';
import { rotary } from '../../../src/training/operations/rotary.js';
import { siluGate } from '../../../src/training/operations/silu-gate.js';
import type { Tape, Variable } from '../../../src/training/tape.js';
import { randomMatrix } from '../../helpers.js';
import { checkDerivatives } from './finite-differences.js';

/** A loss, which adds its gradients at once, as an operation that has a result. */
function lossOperation(tape: Tape, loss: (tape: Tape | undefined, scale: number) => number): Variable {
  const result = tape.variable(1, 1);
  result.value.data[0] = loss(undefined, 1);
  tape.record(() => loss(tape, tape.gradientOf(result).data[0] as number));
  return result;
}

describe('derivatives agree with finite differences', () => {
  it('linear', () => {
    checkDerivatives({
      inputs: [randomMatrix(5, 7, 1)],
      weights: [randomMatrix(3, 7, 2), randomMatrix(1, 3, 3)],
      operation: (context, tape, [x], [weight, bias]) => linear(context, tape, { weight: weight!, bias: bias! }, x!),
    });
  });

  it('linear on a residual that is used before', () => {
    checkDerivatives({
      inputs: [randomMatrix(5, 4, 1)],
      weights: [randomMatrix(4, 4, 2), randomMatrix(1, 4, 3)],
      operation: (context, tape, [x], [weight, norm]) =>
        linear(context, tape, { weight: weight! }, rmsNorm(context, tape, norm!, x!, 1e-5), x!),
    });
  });

  it('rmsNorm, of rows and of heads', () => {
    for (const width of [12, 4]) {
      checkDerivatives({
        inputs: [randomMatrix(5, 12, 1)],
        weights: [randomMatrix(1, width, 2)],
        operation: (context, tape, [x], [weight]) => rmsNorm(context, tape, weight!, x!, 1e-5),
      });
    }
  });

  it('rotary', () => {
    const table = rotaryTable({ type: 'default', theta: 10 }, 6, 4);
    checkDerivatives({
      inputs: [randomMatrix(8, 12, 1)],
      operation: (context, tape, [x]) => {
        rotary(context, tape, table, x!, 6, 4);
        return x!;
      },
    });
  });

  it('matchingLoss', () => {
    const target = randomMatrix(4, 6, 2);
    target.data.fill(0, 6, 12);
    checkDerivatives({
      inputs: [randomMatrix(4, 6, 1)],
      operation: (context, tape, [x]) =>
        lossOperation(tape, (own, scale) => matchingLoss(context, own, x!, target, scale)),
    });
  });

  it.each([
    ['cross-entropy alone', 0],
    ['with a teacher', 0.4],
  ])('languageLoss, %s', (_, weight) => {
    const teacher = { normed: randomMatrix(5, 6, 3), projection: randomMatrix(7, 6, 4), weight };
    const targets = Int32Array.from([3, -1, 0, 6, 3]);
    checkDerivatives({
      inputs: [randomMatrix(5, 6, 1)],
      weights: [randomMatrix(7, 6, 2)],
      operation: (context, tape, [x], [head]) =>
        lossOperation(tape, (own, scale) => {
          const options = { targets, scale, ...(weight > 0 && { teacher }) };
          const { crossEntropy, divergence } = languageLoss(context, own, head!, x!, options);
          return (1 - weight) * crossEntropy + weight * divergence;
        }),
    });
  });

  it.each([
    ['cross-entropy alone', 0],
    ['with a teacher', 0.4],
  ])('classificationLoss, %s', (_, weight) => {
    const teacher = { logits: randomMatrix(4, 5, 2), weight };
    const labels = Int32Array.from([1, -1, 4, 0]);
    checkDerivatives({
      inputs: [randomMatrix(4, 5, 1)],
      operation: (context, tape, [x]) =>
        lossOperation(tape, (own, scale) => {
          const options = { labels, scale, ...(weight > 0 && { teacher }) };
          const { crossEntropy, divergence } = classificationLoss(context, own, x!, options);
          return (1 - weight) * crossEntropy + weight * divergence;
        }),
    });
  });

  it('siluGate', () => {
    checkDerivatives({
      inputs: [randomMatrix(3, 7, 1), randomMatrix(3, 7, 2)],
      operation: (context, tape, [gate, up]) => siluGate(context, tape, gate!, up!),
    });
  });

  it.each([
    ['of two sequences', 5, null, 10],
    ['with a window', 9, 3, 9],
    ['of more than one tile', 140, null, 140],
    ['of more than one tile with a window', 140, 20, 140],
  ])('attention %s', (_, seqLen, window, rows) => {
    const shape = { heads: 4, keyValueHeads: 2, headSize: 6, window };
    checkDerivatives({
      inputs: [randomMatrix(rows, 24, 1), randomMatrix(rows, 12, 2), randomMatrix(rows, 12, 3)],
      operation: (context, tape, [q, k, v]) => attention(context, tape, shape, [q!, k!, v!], seqLen),
    });
  });

  it('embedding, ids repeated', () => {
    checkDerivatives({
      inputs: [],
      weights: [randomMatrix(6, 3, 1)],
      operation: (context, tape, _, [weight]) => embedding(context, tape, weight!, [1, 4, 1, 0]),
    });
  });

  it('a wrong derivative is found', () => {
    expect(() =>
      checkDerivatives({
        inputs: [randomMatrix(3, 7, 1), randomMatrix(3, 7, 2)],
        operation: (context, tape, [gate, up]) => {
          const wrong = siluGate(context, tape, gate!, up!);
          tape.record(() => {
            const { data } = tape.gradientOf(wrong);
            for (let i = 0; i < data.length; i++) data[i]! *= 1.05;
          });
          return wrong;
        },
      }),
    ).toThrow(/by differences/);
  });
});
