import { expect, test } from 'vitest';
import type { PlannedLayer } from '../../../src/compression/cnn/planned-layer.js';
import { methodFor } from '../../../src/compression/cnn/solve-layer.js';

const layer = (columns: number) => ({ layer: { name: 'wide', columns } }) as unknown as PlannedLayer;

test('a layer that is too wide for exact pruning gets admm, with the reason', () => {
  expect(methodFor(layer(4096), 'obc')).toEqual({ method: 'obc' });
  expect(methodFor(layer(4608), 'obc')).toEqual({
    method: 'admm',
    reason: 'obc takes 4096 inputs at most, it has 4608',
  });
  expect(methodFor(layer(4608), 'auto')).toEqual({ method: 'auto' });
});
