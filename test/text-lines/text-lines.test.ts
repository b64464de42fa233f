import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openOnnx } from '../../src/formats/onnx/reader.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { rapidocrFolder, rapidocrModels } from '../rapidocr-fixture.js';
import { fontsFolder } from './fonts-fixture.js';
import { characterAccuracy, decodeTexts, editDistance, readAlphabet, readImages } from './read.js';
import { renderLines } from './render.js';

test('edit distance and character accuracy', () => {
  expect(editDistance('kitten', 'sitting')).toBe(3);
  expect(editDistance('', 'ab')).toBe(2);
  expect(editDistance('ab', '')).toBe(2);
  expect(characterAccuracy(['ab cd', 'ab'], ['abxd', 'a b'])).toBe(1 - 1 / 6);
});

test('best path decoding', () => {
  const path = [1, 1, 0, 1, 2, 2, 0, 3];
  const data = new Float32Array(path.length * 4);
  for (const [position, c] of path.entries()) data[position * 4 + c] = 1;
  expect(decodeTexts({ dims: [1, path.length, 4], data }, ['', 'a', 'b', ' '])).toEqual(['aab ']);
});

const [models, fonts] = [rapidocrFolder(), fontsFolder()];
const reason = models.reason ?? fonts.reason;
if (reason !== undefined) console.log(`skipped: ${reason}`);

test.skipIf(reason !== undefined)('a real recogniser reads the rendered lines', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder();
  const texts = await renderLines(60, 1, fonts.path!, folder);
  const path = join(models.path!, rapidocrModels.recognition);
  const read = await readImages(openOnnx(path), folder, readAlphabet(path));
  expect(characterAccuracy(texts, read)).toBeGreaterThan(0.95);
});
