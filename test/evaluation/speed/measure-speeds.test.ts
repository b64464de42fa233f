import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { measureSpeeds } from '../../../src/evaluation/speed/measure-speeds.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { embedded } from '../../runtime/pruned-model.js';

const settings = { threads: 1, prompts: [4], tokens: 2 };

test('a rival that fails is left out with the reason; a model that fails is an error', async () => {
  const file = join(temporaryFolder(), 'broken.onnx');
  writeFileSync(file, 'no model');
  const { measured, failed } = await measureSpeeds(
    [
      { kind: 'runtime', path: embedded },
      { kind: 'onnxruntime', path: embedded, file },
    ],
    settings,
    { rounds: 2 },
  );
  expect(measured.map(({ contender, rounds }) => [contender.kind, rounds.length])).toEqual([['runtime', 2]]);
  expect(failed).toMatchObject([{ contender: { kind: 'onnxruntime' }, reason: expect.stringContaining(file) }]);
  const nothing = { kind: 'runtime', path: join(embedded, 'nothing') } as const;
  await rejectionOf(() => measureSpeeds([nothing], settings, { rounds: 1 }), 'not-found');
});
