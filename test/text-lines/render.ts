import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { seededRandom } from '../helpers.js';
import { fonts } from './fonts-fixture.js';

/** Size of all images, pixels; the text takes their left part. */
const lineHeight = 48;
const lineWidth = 400;

const words = readFileSync(join(import.meta.dirname, '../../models/sotu-test.txt'), 'utf8').split(/\s+/);
/** From the size of small print to that of headings, pixels. */
const sizes = [14, 18, 24, 32, 44] as const;

/**
 * Lines of words and numbers, each in a font, a size, two colours and a contrast drawn at random, cut out as a text
 * detector would and brought to one height; as PNG files whose names are in their order.
 * @param fontFolder see {@link fontsFolder}.
 * @param folder gets the images.
 * @returns the texts.
 */
export async function renderLines(count: number, seed: number, fontFolder: string, folder: string): Promise<string[]> {
  const random = seededRandom(seed);
  mkdirSync(folder, { recursive: true });
  const texts: string[] = [];
  while (texts.length < count) {
    const text = lineText(random);
    const image = await renderLine(text, random, fontFolder);
    if (!image) continue;
    writeFileSync(join(folder, fileName(texts.length)), image);
    texts.push(text);
  }
  return texts;
}

/** Height and width of {@link renderPages}, multiples of 32 as a text detector wants. */
const pageSize = [256, 416] as const;

/** Pages for a text detector: four such lines one below the other. */
export async function renderPages(count: number, seed: number, fontFolder: string, folder: string): Promise<void> {
  const perPage = 4;
  const [height, width] = pageSize;
  const lines = join(folder, '.lines');
  await renderLines(count * perPage, seed, fontFolder, lines);
  for (let page = 0; page < count; page++) {
    const files = Array.from({ length: perPage }, (_, line) => join(lines, fileName(page * perPage + line)));
    await sharp({ create: { width, height, channels: 3, background: 'white' } })
      .composite(files.map((input, line) => ({ input, left: 8, top: 8 + line * 62 })))
      .png()
      .toFile(join(folder, fileName(page)));
  }
}

const fileName = (index: number): string => `${String(index).padStart(5, '0')}.png`;

type Draw = () => number;
const pick = <T>(random: Draw, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

/** A few words in a row, in one line of four a number among them. */
function lineText(random: Draw): string {
  const first = Math.floor(random() * (words.length - 8));
  const length = 8 + Math.floor(random() * 12);
  const taken: string[] = [];
  for (let i = first; i < words.length && taken.join(' ').length < length; i++) taken.push(words[i] as string);
  if (random() < 0.25) taken.push(`${Math.floor(random() * 100_000)}`);
  return taken
    .join(' ')
    .replace(/[^\x21-\x7e ]/g, '')
    .trim();
}

/** @returns undefined if it is too wide. */
async function renderLine(text: string, random: Draw, fontFolder: string): Promise<Uint8Array | undefined> {
  const [font, file] = pick(random, fonts);
  const size = pick(random, sizes);
  const [paper, ink] = colours(random);
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const { data, info } = await sharp({
    text: { text: escaped, font: `${font} ${size}`, fontfile: join(fontFolder, file), dpi: 72 },
  })
    .extractChannel(0)
    .raw()
    .toBuffer({ resolveWithObject: true });
  const margin = Math.round(size * (0.15 + 0.15 * random()));
  const [height, width] = [info.height + 2 * margin, info.width + 2 * margin];
  const scaledWidth = Math.round((width * lineHeight) / height);
  if (scaledWidth > lineWidth) return undefined;
  const pixels = Buffer.alloc(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [row, column] = [y - margin, x - margin];
      const inside = row >= 0 && row < info.height && column >= 0 && column < info.width;
      const cover = inside ? (data[row * info.width + column] as number) / 255 : 0;
      for (const [c, value] of paper.entries())
        pixels[3 * (y * width + x) + c] = Math.round(value + cover * ((ink[c] as number) - value));
    }
  }
  const [r, g, b] = paper as [number, number, number];
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize(scaledWidth, lineHeight, { fit: 'fill' })
    .extend({ right: lineWidth - scaledWidth, background: { r, g, b } })
    .png()
    .toBuffer();
}

/** Those of paper and ink, dark on light or light on dark, with a contrast of 80 to 220 levels. */
function colours(random: Draw): [number[], number[]] {
  const contrast = 80 + 140 * random();
  const dark = (255 - contrast) * random();
  const tinted = (level: number) => Array.from({ length: 3 }, () => Math.min(255, level + 20 * (random() - 0.5)) | 0);
  const [low, high] = [tinted(Math.max(10, dark)), tinted(dark + contrast)];
  return random() < 0.7 ? [high, low] : [low, high];
}
