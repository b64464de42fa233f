export interface Schedule {
  readonly steps: number;
  readonly learningRate: number;
  /** Part of the steps in which the rate rises linearly. */
  readonly warmup: number;
  /** Part of the rate that is left at the last step. */
  readonly finalRate: number;
}

/** The learning rate of a step, from 1 on: a linear rise, then half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983). */
export function learningRateAt(step: number, { steps, learningRate, warmup, finalRate }: Schedule): number {
  const rising = Math.round(warmup * steps);
  if (step <= rising) return (learningRate * step) / rising;
  const done = (step - rising) / Math.max(1, steps - rising);
  return learningRate * (finalRate + (1 - finalRate) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, done))));
}
