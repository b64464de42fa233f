import type { ImageFile, RawImage } from './raw-image.js';

/** A set of images, each read when it is asked for. */
export interface ImageSource {
  readonly path: string;
  /** One an image: the path inside the folder with `/`, or the number in an array. */
  readonly names: readonly string[];
  /** Channels where all images have the same, undefined where every file has its own. */
  readonly channels: number | undefined;
  /** Sizes of an entry that is no image but a tensor, which a model gets in this shape; channels first. */
  readonly tensor?: readonly number[];
  read(index: number): ImageFile | RawImage;
  close(): void;
}

/** Names of the entries of an array. */
export function numberNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
