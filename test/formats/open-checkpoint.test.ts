import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { hubCacheFolder } from '../../src/formats/hub-cache.js';
import { openCheckpoint } from '../../src/formats/open-checkpoint.js';
import { sharedData } from '../smollm2-fixture.js';
import { errorOf } from './expect-error.js';
import { temporaryFolder } from './temporary-folder.js';
import { writeTinyModel } from './tiny-model.js';

const folder = temporaryFolder();
const gguf = join(import.meta.dirname, 'golden/tiny-llama.gguf');
const model = writeTinyModel(join(folder, 'model'));
const saved = { ...process.env };
afterEach(() => {
  process.env = { ...saved };
});

describe('what can be named', () => {
  test('a folder with safetensors', () => {
    const checkpoint = openCheckpoint(model);
    expect(checkpoint.format).toBe('safetensors');
    expect(checkpoint.tensors.get('model.norm.weight')).toEqual({
      name: 'model.norm.weight',
      shape: [20],
      dtype: 'BF16',
      bytes: 40,
    });
    expect(checkpoint.read('model.norm.weight')).toMatchObject({ rows: 1, columns: 20 });
    expect(checkpoint.tokenizerFiles()).toEqual({
      tokenizer: { version: '1.0' },
      config: { bos_token: '<s>', chat_template: 'template' },
    });
    checkpoint.close();
  });

  test('a GGUF file, and a folder with one', () => {
    mkdirSync(join(folder, 'with-gguf'));
    copyFileSync(gguf, join(folder, 'with-gguf/model.gguf'));
    for (const path of [gguf, join(folder, 'with-gguf')]) {
      const checkpoint = openCheckpoint(path);
      expect(checkpoint.format).toBe('gguf');
      checkpoint.close();
    }
    copyFileSync(gguf, join(folder, 'with-gguf/other.gguf'));
    expect(errorOf(() => openCheckpoint(join(folder, 'with-gguf')), 'not-found').message).toContain('other.gguf');
  });

  test('the id of a model in the hub cache', () => {
    const cache = join(folder, 'hub');
    const repository = join(cache, 'models--org--tiny');
    const snapshot = join(repository, 'snapshots', 'abc123');
    writeTinyModel(join(repository, 'snapshots', 'old'));
    mkdirSync(snapshot);
    mkdirSync(join(repository, 'blobs'));
    for (const name of ['config.json', 'model.safetensors']) {
      copyFileSync(join(model, name), join(repository, 'blobs', name));
      symlinkSync(join('../../blobs', name), join(snapshot, name));
    }
    mkdirSync(join(repository, 'refs'));
    writeFileSync(join(repository, 'refs/main'), 'abc123\n');
    process.env.HF_HUB_CACHE = cache;
    const checkpoint = openCheckpoint('org/tiny');
    expect(checkpoint.path).toBe(snapshot);
    expect(checkpoint.tensors.size).toBe(8);
    errorOf(() => checkpoint.tokenizerFiles(), 'file-unreadable');
    checkpoint.close();
    writeFileSync(join(repository, 'refs/main'), '../../../../etc');
    errorOf(() => openCheckpoint('org/tiny'), 'not-found');
  });

  test('the demo model', (context) => {
    const demo = sharedData('demo/sotu-m');
    if (demo.reason) context.skip(demo.reason);
    const checkpoint = openCheckpoint(demo.path as string);
    expect(checkpoint.read('model.layers.5.mlp.down_proj.weight')).toMatchObject({ rows: 256, columns: 704 });
    expect(checkpoint.tokenizerFiles().config).toMatchObject({ bos_token: '<|endoftext|>' });
    checkpoint.close();
  });
});

test('where the hub cache is', () => {
  expect(hubCacheFolder({ HF_HUB_CACHE: '/a', HF_HOME: '/b' })).toBe('/a');
  expect(hubCacheFolder({ HF_HOME: '/b' })).toBe(join('/b', 'hub'));
  expect(hubCacheFolder({ XDG_CACHE_HOME: '/c' })).toBe(join('/c', 'huggingface', 'hub'));
  expect(hubCacheFolder({})).toMatch(/\.cache.huggingface.hub$/);
});

describe('what is refused', () => {
  test('nothing of that name: the error says where it was looked for', () => {
    process.env.HF_HUB_CACHE = '/no/such/cache';
    const error = errorOf(() => openCheckpoint('org/absent'), 'not-found');
    expect(error.message).toBe(
      'there is no file or folder org/absent and no model of that name in the hub cache /no/such/cache',
    );
    expect(errorOf(() => openCheckpoint('/no/such/model'), 'not-found').message).toBe(
      'there is no file or folder /no/such/model',
    );
    errorOf(() => openCheckpoint('../..//x'), 'not-found');
  });

  test('a folder that is no model, a single safetensors file, a pipe', () => {
    mkdirSync(join(folder, 'nothing'));
    errorOf(() => openCheckpoint(join(folder, 'nothing')), 'not-found');
    errorOf(() => openCheckpoint(join(model, 'model.safetensors')), 'file-unsupported');
    errorOf(() => openCheckpoint(join(model, 'LICENSE')), 'file-malformed');
    const pipe = join(folder, 'pipe');
    execFileSync('sh', ['-c', 'mkfifo "$0"', pipe]);
    errorOf(() => openCheckpoint(pipe), 'file-unreadable');
    symlinkSync('loop', join(folder, 'loop'));
    for (const name of [join(folder, 'loop'), 'nul\0', 'x'.repeat(5000)])
      errorOf(() => openCheckpoint(name), 'file-unreadable');
  });

  test('a model in another quantisation, by name', () => {
    const path = writeTinyModel(join(folder, 'gptq'));
    writeFileSync(join(path, 'config.json'), JSON.stringify({ quantization_config: { quant_method: 'gptq' } }));
    expect(errorOf(() => openCheckpoint(path), 'file-unsupported').message).toContain('gptq');
  });

  test.each(['[]', 'null', '{', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`])('config.json %s', (text) => {
    const path = writeTinyModel(join(folder, 'config'));
    writeFileSync(join(path, 'config.json'), text);
    errorOf(() => openCheckpoint(path), 'file-malformed');
  });
});
