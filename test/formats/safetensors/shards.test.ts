import fs, {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { openShards } from '../../../src/formats/safetensors/shards.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { type TinyTensor, writeTinyModel } from '../tiny-model.js';

const folder = temporaryFolder();
const indexName = 'model.safetensors.index.json';
const tensors: TinyTensor[] = Array.from({ length: 40 }, (_, i) => ({
  name: `t${i}`,
  dtype: 'F32',
  shape: [3, i + 1],
}));
const openSync = fs.openSync;
const closeSync = fs.closeSync;
afterEach(() => {
  Object.assign(fs, { openSync, closeSync });
  syncBuiltinESMExports();
});

function sharded(name: string): string {
  return writeTinyModel(join(folder, name), tensors, 100);
}

function editIndex(path: string, edit: (weightMap: Record<string, unknown>) => void): void {
  const file = join(path, indexName);
  const index = JSON.parse(readFileSync(file, 'utf8'));
  edit(index.weight_map);
  writeFileSync(file, JSON.stringify(index));
}

test('shards hold the same as one file', () => {
  const one = new SafetensorsCheckpoint(writeTinyModel(join(folder, 'one'), tensors));
  const many = new SafetensorsCheckpoint(sharded('many'));
  // The first three together are below the maximum.
  expect(many.files.length).toBe(38);
  expect([...many.tensors.keys()].sort()).toEqual([...one.tensors.keys()].sort());
  for (const name of one.tensors.keys()) expect(many.read(name)).toEqual(one.read(name));
  const index = JSON.parse(readFileSync(join(many.path, indexName), 'utf8'));
  expect(index.metadata.total_size).toBe(tensors.reduce((sum, { shape }) => sum + 12 * shape[1]!, 0));
  one.close();
  many.close();
});

test('at most 16 files are open at a time, and none after closing', () => {
  const path = sharded('descriptors');
  const open = new Set<number>();
  let most = 0;
  Object.assign(fs, {
    openSync: (...parameters: Parameters<typeof openSync>) => {
      const descriptor = openSync(...parameters);
      open.add(descriptor);
      most = Math.max(most, open.size);
      return descriptor;
    },
    closeSync: (descriptor: number) => {
      open.delete(descriptor);
      closeSync(descriptor);
    },
  });
  syncBuiltinESMExports();
  const checkpoint = new SafetensorsCheckpoint(path);
  for (const name of [...checkpoint.tensors.keys()].reverse()) checkpoint.read(name);
  expect(most).toBeLessThanOrEqual(18);
  checkpoint.close();
  expect(open.size).toBe(0);
});

test('a shard that changes while the model is open is noticed', () => {
  const path = sharded('changing');
  const checkpoint = new SafetensorsCheckpoint(path);
  const first = [...checkpoint.tensors.keys()].find((name) => checkpoint.file(name) === checkpoint.files[0])!;
  writeFileSync(checkpoint.files[0]!.path, 'shorter');
  errorOf(() => checkpoint.read(first), 'file-malformed');
  checkpoint.close();
});

test('all missing shards are named in one error', () => {
  const path = sharded('missing');
  const gone = readdirSync(path).filter((name) => /^model-0000[27]-/.test(name));
  for (const name of gone) unlinkSync(join(path, name));
  const error = errorOf(() => openShards(path), 'not-found');
  expect(error.data.missing).toEqual(gone);
  for (const name of gone) expect(error.message).toContain(name);
});

describe('an index that does not fit its shards', () => {
  test.each([
    [
      'names a tensor that is not there',
      (map: Record<string, unknown>) => Object.assign(map, { more: map.t0 }),
      'more',
    ],
    ['lacks a tensor', (map: Record<string, unknown>) => delete map.t3, 't3'],
    ['has a tensor in the wrong shard', (map: Record<string, unknown>) => Object.assign(map, { t5: map.t6 }), 't5'],
  ])('%s', (name, edit, named) => {
    const path = sharded(name);
    // A lacking entry must leave its shard known, or the file is simply not part of the model.
    editIndex(path, (map) => {
      const shard = map.t4;
      map.t3 = shard;
      copyTensorFile(path, String(shard));
      edit(map);
    });
    expect(errorOf(() => openShards(path), 'file-malformed').message).toContain(named);
  });

  function copyTensorFile(path: string, shard: string): void {
    const both = writeTinyModel(join(path, 'both'), tensors.slice(3, 5));
    copyFileSync(join(both, 'model.safetensors'), join(path, shard));
    rmSync(both, { recursive: true });
  }
});

test.each([
  '../../etc/passwd',
  '/etc/passwd',
  '../one/model.safetensors',
  'sub/model.safetensors',
  'sub\\model.safetensors',
  'C:model.safetensors',
  '..',
  '',
  '.hidden.safetensors',
  'model.bin',
  'nul\0.safetensors',
])('the shard name %j is refused without being looked for', (name) => {
  const path = join(folder, `tricks-${Buffer.from(name).toString('hex')}`);
  mkdirSync(path);
  writeFileSync(join(path, indexName), JSON.stringify({ weight_map: { a: name } }));
  const error = errorOf(() => openShards(path), 'file-malformed');
  expect(error.message).toContain('not the name of a safetensors file');
});

test.each([
  '[]',
  '{}',
  '{"weight_map":[]}',
  '{"weight_map":{"a":1}}',
  'no json',
  '{"weight_map":{"a":"b"}',
  '['.repeat(200),
])('the index %s is malformed', (text) => {
  const path = join(folder, 'index');
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, indexName), text);
  errorOf(() => openShards(path), 'file-malformed');
});

test('a shard that is a folder, or leads nowhere', () => {
  const path = join(folder, 'odd');
  mkdirSync(join(path, 'model-1.safetensors'), { recursive: true });
  writeFileSync(join(path, indexName), '{"weight_map":{"a":"model-1.safetensors"}}');
  errorOf(() => openShards(path), 'file-unreadable');
  rmSync(join(path, 'model-1.safetensors'), { recursive: true });
  symlinkSync(join(path, 'nowhere'), join(path, 'model-1.safetensors'));
  errorOf(() => openShards(path), 'not-found');
});

test('shards without their index', () => {
  const path = sharded('no-index');
  unlinkSync(join(path, indexName));
  expect(errorOf(() => openShards(path), 'not-found').message).toContain(
    '38 shards and no model.safetensors.index.json',
  );
});

test('no weights at all', () => {
  mkdirSync(join(folder, 'empty'));
  errorOf(() => openShards(join(folder, 'empty')), 'not-found');
});
