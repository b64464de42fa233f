import { expect, it } from 'vitest';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { rowsOf, zeros } from '../../../src/linalg/matrix.js';
import { llamaKernels } from '../../../src/models/llama/wasm-kernels.js';
import { languageLoss } from '../../../src/training/operations/language-loss.js';
import { Tape } from '../../../src/training/tape.js';
import { wasmTrainingKernels } from '../../../src/training/wasm-kernels.js';
import { randomMatrix } from '../../helpers.js';

const compute = new Compute(createEngine('wasm'));
const [rows, width, vocabulary] = [600, 6, 9];
const x = randomMatrix(rows, width, 1);
const head = randomMatrix(vocabulary, width, 2);
const normed = randomMatrix(rows, width, 3);
const projection = randomMatrix(vocabulary, width, 4);
const targets = Int32Array.from({ length: rows }, (_, row) => (row % 7 === 0 ? -1 : row % vocabulary));

/** Losses of some rows, with the gradients of x and of the head. */
function lossOf(from: number, count: number) {
  const toHead = zeros(vocabulary, width);
  const context = {
    compute,
    forward: llamaKernels(compute),
    backward: wasmTrainingKernels(compute.arena),
    addGradient: (_: unknown, { data }: { data: Float32Array }) => toHead.data.set(data),
  };
  const parameter = { target: head, factors: [{ rows: vocabulary, columns: width, offset: 0, count: 54 }] as const };
  return compute.scope(() => {
    const tape = new Tape(compute);
    const variable = { value: compute.arena.adopt(rowsOf(x, from, count)) };
    const weight = { value: compute.arena.adopt(head), parameter };
    const teacher = {
      normed: compute.arena.adopt(rowsOf(normed, from, count)),
      projection: compute.arena.adopt(projection),
      weight: 0.3,
    };
    const options = { targets: targets.subarray(from, from + count), scale: 0.01, teacher };
    const sums = languageLoss(context, tape, weight, variable, options);
    return { sums, toX: tape.gradientOf(variable).data.slice(), toHead: toHead.data };
  });
}

it('rows of more than one tile are those of its halves', () => {
  const whole = lossOf(0, rows);
  const halves = [lossOf(0, rows / 2), lossOf(rows / 2, rows / 2)] as const;
  const sum = (name: 'crossEntropy' | 'divergence') => halves[0].sums[name] + halves[1].sums[name];
  expect(whole.sums.crossEntropy).toBeCloseTo(sum('crossEntropy'), 3);
  expect(whole.sums.divergence).toBeCloseTo(sum('divergence'), 3);
  // fp32 sums of up to 600 rows, in another order.
  expect(whole.toX).toBeAllclose(Float32Array.from([...halves[0].toX, ...halves[1].toX]), { atol: 1e-7 });
  expect(whole.toHead).toBeAllclose(
    halves[0].toHead.map((value, i) => value + halves[1].toHead[i]!),
    { atol: 1e-5 },
  );
});
