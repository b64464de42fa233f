import { afterEach, expect, test, vi } from 'vitest';
import { loadBlasContender } from '../../../src/evaluation/speed/blas-contender.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { embedded } from '../../runtime/pruned-model.js';

afterEach(() => vi.restoreAllMocks());

test('an fp32 copy that does not fit is not made', async () => {
  vi.spyOn(process, 'availableMemory').mockReturnValue(1e6);
  const settings = { threads: 1, prompts: [4], tokens: 2 };
  const error = await rejectionOf(() => loadBlasContender(embedded, settings), 'out-of-memory');
  expect(error.data).toMatchObject({ available: 1e6 });
  expect(Number(error.data.bytes)).toBeGreaterThan(1e7);
});
