import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Fixture, fromWheel } from '../wheel.js';

/** Name for Pango, and file. */
export const fonts = [
  ['DejaVu Sans', 'DejaVuSans.ttf'],
  ['DejaVu Sans Bold', 'DejaVuSans-Bold.ttf'],
  ['DejaVu Serif', 'DejaVuSerif.ttf'],
  ['DejaVu Sans Mono', 'DejaVuSansMono.ttf'],
  ['STIXGeneral', 'STIXGeneral.ttf'],
  ['STIXGeneral Italic', 'STIXGeneralItalic.ttf'],
] as const;

/**
 * The folder of fonts to render text lines with, free ones (DejaVu, STIX): DSF_TEST_FONTS, else out of a Python package
 * of 9 MB (see {@link fromWheel}). A machine's own fonts would make other images.
 */
export function fontsFolder(): Fixture {
  const explicit = process.env.DSF_TEST_FONTS;
  if (explicit)
    return isWhole(explicit) ? { path: explicit } : { reason: `DSF_TEST_FONTS: not all fonts in ${explicit}` };
  return fromWheel({
    requirement: 'matplotlib>=3.8',
    part: ['matplotlib', 'mpl-data', 'fonts', 'ttf'],
    name: 'fonts',
    isWhole,
    holds: 'the fonts',
  });
}

function isWhole(folder: string): boolean {
  return fonts.every(([, file]) => existsSync(join(folder, file)));
}
