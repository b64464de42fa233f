import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GgufCheckpoint } from '../../../src/formats/gguf/checkpoint.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../expect-error.js';
import { mutationsOf } from '../mutations.js';
import { temporaryFolder } from '../temporary-folder.js';
import { buildGguf, type GgufSpec, type GgufTensorSpec, tinySpec } from './build-gguf.js';

const path = join(temporaryFolder(), 'hostile.gguf');
const valid = buildGguf(tinySpec());
const headerBytes = valid.indexOf('blk.0.ffn_down.weight') + 60;

function openAll(bytes: Uint8Array): void {
  writeFileSync(path, bytes);
  const checkpoint = new GgufCheckpoint(path);
  try {
    for (const name of checkpoint.tensors.keys()) checkpoint.read(name);
    checkpoint.tokenizerFiles();
  } finally {
    checkpoint.close();
  }
}

test('the file that is damaged below is valid', () => {
  openAll(valid);
});

test('cut anywhere, it is malformed', { timeout: 60_000 }, () => {
  const ends = [
    ...Array.from({ length: headerBytes / 2 }, (_, i) => 2 * i),
    valid.byteLength - 1,
    valid.byteLength - 400,
  ];
  withBoundedMemory(() => {
    for (const end of ends) errorOf(() => openAll(valid.subarray(0, end)), 'file-malformed');
  });
});

test('damaged anyhow, there are only typed errors and little memory is taken', { timeout: 60_000 }, () => {
  withBoundedMemory(() => {
    fc.assert(
      fc.property(mutationsOf(valid.subarray(0, headerBytes)), (head) => {
        onlyTypedErrors(() => openAll(Buffer.concat([head, valid.subarray(headerBytes)])));
      }),
      { numRuns: 1500 },
    );
  });
});

test('random metadata values of any type give only typed errors', () => {
  const keys = tinySpec().metadata.map(([key]) => key);
  const value = fc.oneof(
    fc.tuple(fc.constantFrom('u32', 'i32', 'u64', 'i64'), fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n })),
    fc.tuple(fc.constantFrom('f32', 'f64'), fc.double()),
    fc.tuple(fc.constant('bool'), fc.boolean()),
    fc.tuple(fc.constant('string'), fc.string({ unit: 'binary' })),
    fc.tuple(fc.constant('[]string'), fc.array(fc.string({ unit: 'binary' }))),
    fc.tuple(fc.constantFrom('[]i32', '[]f32'), fc.array(fc.integer())),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...keys, 'general.alignment', 'llama.rope.scaling.type', 'split.count'),
      value,
      (key, [type, content]) => {
        onlyTypedErrors(() => openAll(buildGguf(tinySpec('llama', [[key, type, content] as GgufSpec['metadata'][0]]))));
      },
    ),
    { numRuns: 500 },
  );
});

const spec = tinySpec();
const firstTensor = (change: Partial<GgufTensorSpec>): GgufSpec => ({
  ...spec,
  tensors: spec.tensors.map((tensor, i) => (i === 0 ? { ...tensor, ...change } : tensor)),
});

test.each([
  ['a count of tensors', { ...spec, tensorCount: 2n ** 63n }, 'number of tensors'],
  ['a count of tensors that the file cannot hold', { ...spec, tensorCount: 500_000 }, 'do not fit'],
  ['one tensor too many', { ...spec, tensorCount: spec.tensors.length + 1 }, ''],
  ['a count of entries', { ...spec, entryCount: 60_000 }, 'do not fit'],
  ['more entries than anything has', { ...spec, entryCount: 1e9 }, 'at most'],
  ['dimensions whose product overflows', firstTensor({ shape: [2n ** 32n, 2n ** 32n, 2n ** 32n] }), 'has shape'],
  ['a dimension beyond 2^53', firstTensor({ shape: [2n ** 62n] }), 'dimension'],
  ['an empty dimension', firstTensor({ shape: [8, 0] }), 'empty dimension'],
  ['no dimensions', firstTensor({ shape: [] }), '0 dimensions'],
  ['five dimensions', firstTensor({ shape: [1, 1, 1, 1, 1] }), '5 dimensions'],
  ['rows that are not whole blocks', firstTensor({ type: 2 }), 'blocks of 32'],
  ['an offset out of the file', firstTensor({ offset: 1 << 20 }), 'truncated'],
  ['an offset that is not aligned', firstTensor({ offset: 4 }), 'multiple of 32'],
  ['an offset inside another tensor', firstTensor({ offset: 192 }), 'overlap'],
  ['a name twice', { ...spec, tensors: [spec.tensors[0]!, spec.tensors[0]!] }, 'comes twice'],
  ['an alignment of 3', tinySpec('llama', [['general.alignment', 'u32', 3]]), 'alignment'],
  ['an alignment of 0', tinySpec('llama', [['general.alignment', 'u32', 0]]), 'alignment'],
  ['a key twice', { ...spec, metadata: [...spec.metadata, spec.metadata[0]!] }, 'comes twice'],
  ['no architecture', { ...spec, metadata: [] }, 'general.architecture'],
  ['no embeddings', { ...spec, tensors: spec.tensors.slice(1) }, 'token_embd'],
  [
    'heads that do not divide the rows',
    tinySpec('llama', [
      ['llama.attention.head_count', 'u32', 3],
      ['llama.attention.key_length', 'u32', 4],
    ]),
    'rows for 3 heads',
  ],
  ['a vocabulary that does not fit', tinySpec('llama', [['llama.vocab_size', 'u32', 7]]), 'vocab_size'],
  ['zero blocks', tinySpec('llama', [['llama.block_count', 'u32', 0]]), 'block_count'],
] as const)('%s is malformed', (_, damaged, named) => {
  expect(errorOf(() => openAll(buildGguf(damaged)), 'file-malformed').message).toContain(named);
});

test.each([
  ['a string', [8, 2n ** 40n], 'at most'],
  ['a string that the file cannot hold', [8, 5_000_000n], 'expected'],
  ['an array', [9, 4, 2n ** 40n], 'at most'],
  ['an array that the file cannot hold', [9, 8, 15_000_000n], 'do not fit'],
  ['a value type', [99], 'type 99'],
  ['an array of arrays of arrays of arrays', [9, 9, 1n, 9, 1n, 9, 1n, 9, 1n], 'levels'],
] as const)('%s that lies about itself is malformed', (_, numbers, named) => {
  const fields = numbers.map((number) =>
    Buffer.from(typeof number === 'bigint' ? new BigUint64Array([number]).buffer : new Uint32Array([number]).buffer),
  );
  const key = Buffer.concat([Buffer.from(new BigUint64Array([1n]).buffer), Buffer.from('k')]);
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    Buffer.from(new Uint32Array([3]).buffer),
    Buffer.from(new BigUint64Array([0n, 1n]).buffer),
  ]);
  withBoundedMemory(() => {
    const error = errorOf(() => openAll(Buffer.concat([head, key, ...fields, Buffer.alloc(64)])), 'file-malformed');
    expect(error.message).toContain(named);
  });
});

test('other files are not taken for GGUF', () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('GGUF'), Buffer.alloc(100), Buffer.from('PK\x03\x04'.repeat(20))])
    errorOf(() => openAll(bytes), 'file-malformed');
});
