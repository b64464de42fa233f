import { DoubleSparseError } from '../../errors.js';
import { Random } from '../../linalg/random.js';
import type { Augmentation } from './options.js';
import { flipped, type RawImage, shifted } from './raw-image.js';

/** @throws DoubleSparseError `option-out-of-range` when every pass would see the same images */
export function checkAugmentation({ flip, shift, passes }: Augmentation): void {
  if (passes === 1 || flip || shift > 0) return;
  throw new DoubleSparseError('option-out-of-range', `${passes} passes over images that nothing changes`, {
    data: { option: 'passes', value: passes },
    hint: 'add --flip or --shift, or leave --passes away',
  });
}

/**
 * A random change of one image: shifted by up to `shift` pixels each way, mirrored with a chance of one half. Depends on
 * seed, pass and index alone, so that batches and skipped images do not matter.
 */
export function augment(
  image: RawImage,
  { flip, shift }: Augmentation,
  seed: number,
  pass: number,
  index: number,
): RawImage {
  if (!flip && shift === 0) return image;
  const random = new Random(mixed(mixed(seed, pass), index));
  const [down, right] = [random.below(2 * shift + 1) - shift, random.below(2 * shift + 1) - shift];
  const moved = shift === 0 ? image : shifted(image, down, right);
  return flip && random.below(2) === 1 ? flipped(moved) : moved;
}

/** Neighbouring pairs must not make neighbouring states of the generator, which would repeat its numbers. */
function mixed(seed: number, number: number): number {
  return new Random(new Random(seed).bits() ^ number).bits();
}
