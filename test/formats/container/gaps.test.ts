import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CompressedCheckpoint } from '../../../src/formats/container/checkpoint.js';
import { decodeGaps, encodeGaps, gapBytes, positionsWithin } from '../../../src/formats/container/gaps.js';
import { packFactor, unpackFactor } from '../../../src/formats/container/packed-factor.js';
import { ContainerWriter, planProduct } from '../../../src/formats/container/writer.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { matrix } from '../../../src/linalg/matrix.js';
import '../../helpers.js';
import { errorOf, onlyTypedErrors } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { sparseMatrix, writeTinyModel } from '../tiny-model.js';

const size = fc.integer({ min: 1, max: 60 });
const density = fc.constantFrom(0, 0.01, 0.05, 0.2, 0.6, 1);

test('the bytes are those of docs/container.md', () => {
  const row = Array.from({ length: 40 }, (_, column) => ([2, 3, 21].includes(column) ? 1 : 0));
  // Gaps 2, 0, 17 = 15 + 2, then 18 positions without any: 15 and a rest.
  expect([...encodeGaps(packFactor(matrix(1, 40, row), 'F16').bitmask, 1, 40, gapBytes(row))]).toEqual([
    0x02, 0x2f, 0xff,
  ]);
});

test('a support comes back, in as many bytes as foretold', () => {
  fc.assert(
    fc.property(size, size, fc.integer(), density, (rows, columns, seed, part) => {
      const source = sparseMatrix(rows, columns, seed, part);
      const packed = packFactor(source, 'F32');
      const bytes = gapBytes(source.data);
      const gaps = encodeGaps(packed.bitmask, rows, columns, bytes);
      expect(gaps.byteLength).toBe(bytes);
      expect(rows * columns).toBeLessThanOrEqual(positionsWithin(gaps.byteLength));
      const count = packed.values.byteLength / 4;
      expect(decodeGaps(gaps, rows, columns, count, 'x')).toEqual(packed.bitmask);
      errorOf(() => decodeGaps(gaps, rows, columns, count + 1, 'x'), 'file-malformed');
    }),
  );
});

test('any bytes give a support of as many entries, or a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), size, size, fc.nat(80), (gaps, rows, columns, count) => {
      onlyTypedErrors(() => {
        const bitmask = decodeGaps(gaps, rows, columns, count, 'x');
        expect(bitmask.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)).toBe(count);
      });
    }),
    { numRuns: 2000 },
  );
});

test('a sparse factor is stored as gaps where these are shorter, and its members are read alone', () => {
  const folder = temporaryFolder();
  const source = new SafetensorsCheckpoint(writeTinyModel(join(folder, 'source')));
  const name = 'model.layers.0.self_attn.qkv';
  const factors = [sparseMatrix(40, 15, 1, 0.08), sparseMatrix(15, 20, 2, 0.5)] as const;
  const members = ['q', 'k', 'v'].map((letter, i) => ({
    weight: `model.layers.0.self_attn.${letter}_proj.weight`,
    rows: [20, 10, 10][i]!,
  }));
  const writer = new ContainerWriter(join(folder, 'out'), source, [planProduct(name, factors, members, 'F32')]);
  writer.writeProduct(name, factors);
  writer.finish();
  const checkpoint = new CompressedCheckpoint(join(folder, 'out'));
  expect(checkpoint.products.get(name)?.supports).toEqual([
    { form: 'gaps', bytes: gapBytes(factors[0].data) },
    { form: 'bitmask', bytes: 15 * 3 },
  ]);
  checkpoint.verify();
  const [a] = checkpoint.readProduct(name);
  expect(unpackFactor(a!).data).toHaveSameBits(factors[0].data);
  const [rowsOfK] = checkpoint.readPackedFactors('model.layers.0.self_attn.k_proj.weight');
  expect(unpackFactor(rowsOfK!).data).toHaveSameBits(factors[0].data.slice(20 * 15, 30 * 15));
  const stored = [...checkpoint.products.values()].reduce(
    (sum, { counts, supports }) =>
      sum + 4 * counts.reduce((a, b) => a + b, 0) + supports.reduce((all, { bytes }) => all + bytes, 0),
    0,
  );
  expect([...checkpoint.compression.values()].reduce((sum, { bytes }) => sum + bytes, 0)).toBe(stored);
  checkpoint.close();
});
