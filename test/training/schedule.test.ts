import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { learningRateAt } from '../../src/training/learning-rate.js';
import { TrainingOrder } from '../../src/training/training-order.js';

describe('learning rate', () => {
  const schedule = { steps: 100, learningRate: 2, warmup: 0.1, finalRate: 0.1 };
  it('rises, is highest behind the warm-up, and ends at its last part', () => {
    expect(learningRateAt(1, schedule)).toBeCloseTo(0.2);
    expect(learningRateAt(10, schedule)).toBe(2);
    expect(learningRateAt(55, schedule)).toBeCloseTo(1.1);
    expect(learningRateAt(100, schedule)).toBeCloseTo(0.2);
  });
  it('without a warm-up, or with nothing else', () => {
    expect(learningRateAt(1, { ...schedule, steps: 1, warmup: 0 })).toBeCloseTo(0.2);
    expect(learningRateAt(3, { ...schedule, steps: 3, warmup: 1 })).toBe(2);
  });
});

describe('order of the text', () => {
  it('takes every window once in an epoch, whatever the batch', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer(),
        (count, batch, seed) => {
          const order = new TrainingOrder(count, batch, seed);
          const taken = Array.from({ length: count }, (_, i) => order.batch(i + 1)).flat();
          for (let epoch = 0; epoch < batch; epoch++) {
            const own = taken.slice(epoch * count, (epoch + 1) * count).sort((a, b) => a - b);
            expect(own).toEqual(Array.from({ length: count }, (_, i) => i));
          }
        },
      ),
    );
  });
  it('is a function of the step', () => {
    const order = new TrainingOrder(13, 4, 5);
    const all = Array.from({ length: 20 }, (_, i) => order.batch(i + 1));
    expect(new TrainingOrder(13, 4, 5).batch(17)).toEqual(all[16]);
    expect(new TrainingOrder(13, 4, 6).batch(17)).not.toEqual(all[16]);
  });
});
