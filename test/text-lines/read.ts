import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { ImageModel } from '../../src/calibration/image-model.js';
import { imageBatches, selectImages } from '../../src/calibration/images/image-batches.js';
import { openImages } from '../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../src/calibration/images/options.js';
import type { Tensor } from '../../src/calibration/tensor.js';
import type { OnnxModel } from '../../src/formats/onnx/model.js';
import { ModelProtoSchema } from '../../src/formats/onnx/proto/onnx_pb.js';

/** The characters that a text recogniser tells apart, by class: nothing (''), those in the model's metadata, a space. */
export function readAlphabet(path: string): string[] {
  const { metadataProps } = fromBinary(ModelProtoSchema, readFileSync(path));
  const list = metadataProps.find(({ key }) => key === 'character');
  if (!list) throw new Error(`${path} has no list of characters`);
  return ['', ...list.value.split(/\r?\n/), ' '];
}

/**
 * The texts that a recogniser reads: of the most probable class at each position, repetitions once, blanks left out
 * (Graves et al. 2006, Connectionist Temporal Classification, best path decoding).
 * @param output N x positions x classes.
 */
export function decodeTexts({ dims, data }: Tensor, alphabet: readonly string[]): string[] {
  const [count, positions, classes] = dims as [number, number, number];
  if (classes !== alphabet.length) throw new Error(`${classes} classes, ${alphabet.length} characters`);
  return Array.from({ length: count }, (_, image) => {
    let [text, previous] = ['', 0];
    for (let position = 0; position < positions; position++) {
      const row = data.subarray((image * positions + position) * classes, (image * positions + position + 1) * classes);
      const best = row.reduce((at, value, c) => (value > (row[at] as number) ? c : at), 0);
      if (best !== previous) text += alphabet[best] as string;
      previous = best;
    }
    return text;
  });
}

/** What all models of the package want: blue first, (x / 255 - 0.5) / 0.5. */
export const preprocessing = preprocessingSchema.parse({ channels: 'bgr', mean: [0.5], std: [0.5] });

/** What a recogniser reads in the images of a folder, in the order of their names. */
export async function readImages(
  recogniser: OnnxModel,
  folder: string,
  alphabet: readonly string[],
): Promise<string[]> {
  const batchSize = 8;
  const model = await ImageModel.open(recogniser, { layout: 'nchw', batchSize, threads: 2 });
  const source = openImages(folder);
  const texts: string[] = [];
  for await (const { images } of imageBatches(source, selectImages(source, undefined, 0), {
    preprocessing,
    batchSize,
  })) {
    const [output] = Object.values(await model.run(images));
    texts.push(...decodeTexts(output as Tensor, alphabet));
  }
  source.close();
  await model.close();
  return texts;
}

/** 1 - (edit distances of all texts) / (their lengths), without spaces: recognisers of Chinese drop many. */
export function characterAccuracy(texts: readonly string[], read: readonly string[]): number {
  const compact = (text: string) => text.replaceAll(' ', '');
  const lengths = texts.reduce((sum, text) => sum + compact(text).length, 0);
  const distances = texts.reduce((sum, text, i) => sum + editDistance(compact(text), compact(read[i] ?? '')), 0);
  return 1 - distances / lengths;
}

/** Insertions, deletions and substitutions that make `b` of `a` (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
