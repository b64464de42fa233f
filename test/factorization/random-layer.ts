import type { Matrix } from '../../src/linalg/matrix.js';
import { zeros } from '../../src/linalg/matrix.js';
import { seededRandom } from '../helpers.js';

/**
 * A layer with correlated inputs: a random weight (out x in) and the Gram matrix of `samples` inputs that are random
 * mixtures of in / 2 sources, plus a little noise. Fewer samples than inputs make it rank-deficient.
 */
export function randomLayer(
  out: number,
  inputs: number,
  seed: number,
  samples = 4 * inputs,
): { weight: Matrix; gram: Matrix } {
  const random = seededRandom(seed);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const weight = zeros(out, inputs);
  for (let i = 0; i < weight.data.length; i++) weight.data[i] = normal();
  const sources = Math.max(1, inputs >> 1);
  const mixing = Float64Array.from({ length: inputs * sources }, normal);
  const gram = zeros(inputs, inputs);
  for (let sample = 0; sample < samples; sample++) {
    const source = Float64Array.from({ length: sources }, normal);
    const input = Float64Array.from({ length: inputs }, (_, i) => {
      let sum = 0.1 * normal();
      for (let p = 0; p < sources; p++) sum += (mixing[i * sources + p] as number) * (source[p] as number);
      return sum;
    });
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < inputs; j++) {
        const at = i * inputs + j;
        gram.data[at] = (gram.data[at] as number) + ((input[i] as number) * (input[j] as number)) / samples;
      }
    }
  }
  return { weight, gram };
}
