import type { LoadedWindows } from '../calibration/load-windows.js';

/** Texts of a run, in windows of one length. */
export interface FinetuneTexts {
  readonly training: LoadedWindows;
  readonly validation?: LoadedWindows;
}
