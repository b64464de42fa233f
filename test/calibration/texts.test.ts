import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readTexts } from '../../src/calibration/texts.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { rejectionOf } from './expect-rejection.js';

const folder = temporaryFolder();
function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}
const jsonLines = (values: readonly unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('');

describe('plain text', () => {
  test('a file is one document, character for character', async () => {
    const text = ' Zwei Jäger \r\n\n 日本語 🎉\n';
    const texts = await readTexts(file('a.txt', text));
    expect(texts.documents).toEqual([text]);
    expect(texts).toMatchObject({ characters: text.length, truncated: false });
  });

  test('characters across the borders of chunks stay whole', async () => {
    const text = `x${'äöü🎉'.repeat(200_000)}`;
    expect((await readTexts(file('long.txt', text))).documents[0]).toBe(text);
  });

  test('reading stops at the limit, a chunk later at most', async () => {
    const texts = await readTexts(file('limit.txt', 'abcdefg '.repeat(1_000_000)), { maximumCharacters: 1000 });
    expect(texts.truncated).toBe(true);
    expect(texts.documents).toHaveLength(1);
    expect(texts.characters).toBe(2 ** 20);
  });

  test('errors', async () => {
    expect((await rejectionOf(() => readTexts(file('empty.txt', '')), 'option-out-of-range')).data.characters).toBe(0);
    await rejectionOf(() => readTexts(file('latin1.txt', Uint8Array.of(97, 0xe4, 98))), 'file-malformed');
    await rejectionOf(() => readTexts(file('cut.txt', Uint8Array.of(97, 0xc3))), 'file-malformed');
    await rejectionOf(() => readTexts(join(folder, 'absent.txt')), 'file-unreadable');
    await rejectionOf(() => readTexts(folder), 'file-unsupported');
    const error = await rejectionOf(() => readTexts(file('a.csv', 'a,b')), 'file-unsupported');
    expect(error.hint).toContain('.jsonl');
  });
});

describe('JSON lines', () => {
  test('one document a line, in order, empty ones left away', async () => {
    const path = file(
      'a.jsonl',
      `${jsonLines([{ text: 'one\n' }, { text: '' }])}\n  \n${jsonLines([{ text: 'zwei ä' }])}`,
    );
    const texts = await readTexts(path);
    expect(texts.documents).toEqual(['one\n', 'zwei ä']);
    expect(texts.characters).toBe(10);
  });

  test('the last line needs no line break', async () => {
    expect((await readTexts(file('b.jsonl', '{"text":"x"}'))).documents).toEqual(['x']);
  });

  test('the field is chosen by name', async () => {
    const path = file('c.jsonl', jsonLines([{ story: 'once', text: 'no' }]));
    expect((await readTexts(path, { textField: 'story' })).documents).toEqual(['once']);
  });

  test('reading stops at the limit', async () => {
    const path = file('many.jsonl', jsonLines(Array.from({ length: 100 }, () => ({ text: '0123456789' }))));
    expect(await readTexts(path, { maximumCharacters: 25 })).toMatchObject({ characters: 30, truncated: true });
    expect(await readTexts(path, { maximumCharacters: 1000 })).toMatchObject({ characters: 1000, truncated: false });
  });

  test('errors name the line and the fields', async () => {
    const broken = await rejectionOf(() => readTexts(file('d.jsonl', '{"text":"a"}\n{"text":')), 'file-malformed');
    expect(broken.message).toContain('line 2');
    const other = await rejectionOf(() => readTexts(file('e.jsonl', jsonLines([{ body: 1, id: 2 }]))), 'not-found');
    expect(other.data.fields).toEqual(['body', 'id']);
    for (const line of ['null', '3', '"text"', '[]', '{"text":5}']) {
      await rejectionOf(() => readTexts(file('f.jsonl', line)), 'not-found');
    }
    await rejectionOf(() => readTexts(file('g.jsonl', '\n\n')), 'option-out-of-range');
  });
});

describe('parquet', () => {
  const golden = (compression: string): string => join(import.meta.dirname, `golden/texts.${compression}.parquet`);
  // What golden/make_goldens.py writes; document 3 is empty and 4 null.
  const expected = Array.from({ length: 50 }, (_, i) => `Document ${i}: ${'na '.repeat(i % 7)}größer 🎉`).filter(
    (_, i) => i !== 3 && i !== 4,
  );
  const zstandard = 'zstdDecompressSync' in zlib;

  test.each(['snappy', 'gzip', 'brotli', ...(zstandard ? ['zstd'] : [])])(
    'documents of a %s file',
    async (compression) => {
      expect((await readTexts(golden(compression))).documents).toEqual(expected);
    },
  );

  test.skipIf(zstandard)('zstd is refused where Node cannot decompress it', async () => {
    const error = await rejectionOf(() => readTexts(golden('zstd')), 'file-malformed');
    expect(error.message).toMatch(/zstd/i);
  });

  test('another column', async () => {
    expect((await readTexts(golden('snappy'), { textField: 'story' })).documents).toEqual(Array(50).fill('once'));
  });

  test('errors', async () => {
    const missing = await rejectionOf(() => readTexts(golden('snappy'), { textField: 'body' }), 'not-found');
    expect(missing.data.columns).toEqual(['id', 'text', 'story']);
    await rejectionOf(() => readTexts(golden('snappy'), { textField: 'id' }), 'file-malformed');
    await rejectionOf(() => readTexts(file('a.parquet', 'PAR1 this is not a table PAR1')), 'file-malformed');
    await rejectionOf(() => readTexts(file('b.parquet', '')), 'file-malformed');
    await rejectionOf(() => readTexts(join(folder, 'absent.parquet')), 'file-unreadable');
  });
});

test('the hash is that of the documents, whatever the format', async () => {
  const plain = await readTexts(file('same.txt', 'the same text'));
  const lines = await readTexts(file('same.jsonl', jsonLines([{ text: 'the same text' }])));
  const split = await readTexts(file('split.jsonl', jsonLines([{ text: 'the same ' }, { text: 'text' }])));
  expect(lines.hash).toBe(plain.hash);
  expect(split.hash).not.toBe(plain.hash);
  expect(plain.hash).toMatch(/^[0-9a-f]{64}$/);
});
