import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compressedConfig } from '../../../src/formats/container/description.js';
import { ContainerWriter, planProduct } from '../../../src/formats/container/writer.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { SafetensorsWriter } from '../../../src/formats/safetensors/writer.js';
import { matrix } from '../../../src/linalg/matrix.js';
import { temporaryFolder } from '../temporary-folder.js';

const folder = temporaryFolder();
const page = readFileSync(join(import.meta.dirname, '../../../docs/container.md'), 'utf8');

test('the worked example of docs/container.md is what is written', () => {
  const source = join(folder, 'source');
  mkdirSync(source);
  const weights = new SafetensorsWriter(join(source, 'model.safetensors'), [
    { name: 'layer.weight', dtype: 'F16', shape: [2, 3] },
    { name: 'norm.weight', dtype: 'F16', shape: [1] },
  ]);
  weights.writeFloats('layer.weight', new Float32Array(6));
  weights.writeFloats('norm.weight', Float32Array.of(1));
  weights.commit();
  writeFileSync(join(source, 'config.json'), '{}');
  const factors = [matrix(2, 2, [1, 0, 0.5, -2]), matrix(2, 3, [0, 3, 0, 1, 0, 0.25])];
  const target = join(folder, 'target');
  const members = [{ weight: 'layer.weight', rows: 2 }];
  const writer = new ContainerWriter(target, new SafetensorsCheckpoint(source), [
    planProduct('layer', factors, members),
  ]);
  writer.writeProduct('layer', factors);
  writer.finish();

  const [header = '', data = ''] = [...page.matchAll(/```text\n([\s\S]*?)```/g)].map((block) => block[1]);
  const json = header.replaceAll('\n', '');
  const length = Number(/length of the header, (\d+)/.exec(page)?.[1]);
  const start = /eight bytes `([0-9a-f ]+)`/.exec(page)?.[1] ?? '';
  const hex = data.split('\n').map((line) => /^([0-9a-f]{2} )+/.exec(line)?.[0] ?? '');
  const bytes = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
  const expected = Buffer.concat([bytes(start), Buffer.from(json.padEnd(length)), bytes(hex.join(''))]);
  expect(readFileSync(join(target, 'model.safetensors')).toString('latin1')).toBe(expected.toString('latin1'));
});

test('so is the part of config.json', () => {
  const source = { model_type: 'llama', architectures: ['LlamaForCausalLM'] };
  const [example = ''] = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map((block) => block[1]);
  expect(compressedConfig(source, {})).toEqual(JSON.parse(example));
});
