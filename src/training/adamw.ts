export interface AdamOptions {
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Number of this step, from 1 on. */
  readonly step: number;
  /** Factor of the gradients: below 1 where their norm was clipped. */
  readonly gradientScale: number;
  /** Decay rate of the mean of gradients (default 0.9). */
  readonly momentum?: number;
}

/** The usual constants (Kingma & Ba 2015, arXiv 1412.6980), the second decay rate as for language models. */
const [usualMomentum, beta2, epsilon] = [0.9, 0.95, 1e-8];

/**
 * One step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), in place.
 * @param first running mean of gradients. @param second running mean of their squares.
 */
export function adamStep(
  values: Float32Array,
  gradients: Float32Array,
  first: Float32Array,
  second: Float32Array,
  { learningRate, weightDecay, step, gradientScale, momentum: beta1 = usualMomentum }: AdamOptions,
): void {
  const rate = learningRate / (1 - beta1 ** step);
  const correction = 1 / Math.sqrt(1 - beta2 ** step);
  const shrink = 1 - learningRate * weightDecay;
  for (let i = 0; i < values.length; i++) {
    const gradient = (gradients[i] as number) * gradientScale;
    const m = beta1 * (first[i] as number) + (1 - beta1) * gradient;
    const v = beta2 * (second[i] as number) + (1 - beta2) * gradient * gradient;
    first[i] = m;
    second[i] = v;
    values[i] = (values[i] as number) * shrink - (rate * m) / (Math.sqrt(v) * correction + epsilon);
  }
}
