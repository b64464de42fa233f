import type { Checkpoint } from '../formats/checkpoint.js';
import { readTexts, type TextOptions } from './texts.js';
import { TextTokenizer } from './tokenizer.js';
import { consecutiveWindows, encodeDocuments, sampleWindows, type TokenWindows } from './windows.js';

/** Windows of a text file, with what should be told about them. */
export interface LoadedWindows extends TokenWindows {
  /** Was the file longer than what is read at most? */
  readonly truncated: boolean;
  /** Of the text: equal for the same text in any format (see {@link Texts}). */
  readonly textHash: string;
}

export interface LoadOptions extends TextOptions {
  seqLen: number;
  /** Start every window with the beginning-of-sequence token (default false). */
  bos?: boolean;
}

/**
 * Calibration windows: from random places of a text file.
 * @throws DoubleSparseError see {@link readTexts}, {@link TextTokenizer} and {@link sampleWindows}
 */
export async function loadCalibration(
  checkpoint: Checkpoint,
  path: string,
  { samples, seed, seqLen, bos = false, ...texts }: LoadOptions & { samples: number; seed: number },
): Promise<LoadedWindows> {
  const { ids, bosId, ...about } = await loadIds(checkpoint, path, texts, bos);
  return { ...sampleWindows(ids, { samples, seqLen, seed, bosId }), ...about };
}

/**
 * Evaluation windows: side by side from the first token of a text file.
 * @throws DoubleSparseError see {@link readTexts}, {@link TextTokenizer} and {@link consecutiveWindows}
 */
export async function loadEvaluation(
  checkpoint: Checkpoint,
  path: string,
  { windows, seqLen, bos = false, ...texts }: LoadOptions & { windows?: number | undefined },
): Promise<LoadedWindows> {
  const enough = windows === undefined ? undefined : windows * seqLen;
  const { ids, bosId, ...about } = await loadIds(checkpoint, path, texts, bos, enough);
  return { ...consecutiveWindows(ids, { seqLen, windows, bosId }), ...about };
}

/** @param enough ids of one long document that suffice; the rest is then not tokenized. */
async function loadIds(checkpoint: Checkpoint, path: string, options: TextOptions, bos: boolean, enough?: number) {
  const { documents, truncated, hash: textHash } = await readTexts(path, options);
  const tokenizer = new TextTokenizer(checkpoint.tokenizerFiles());
  const [only] = documents;
  const ids =
    enough !== undefined && documents.length === 1 && only !== undefined
      ? tokenizer.encodeFirst(only, enough)
      : encodeDocuments(documents, tokenizer);
  return { ids, bosId: bos ? tokenizer.requireBos() : undefined, truncated, textHash };
}
