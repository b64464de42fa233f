import type { SkippedImage } from '../calibration/images/image-batches.js';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { sharedText } from '../calibration/overlap.js';
import { isFloatType } from '../formats/dtype.js';
import { chooseEngine, engineFailures } from '../linalg/engines/select.js';
import { formatBytes } from '../report/table.js';
import type { LoadedModel } from '../runtime/load-model.js';
import { say } from './terminal.js';

/** Says what the machine lacks where that made `auto` take a slower engine. */
export function noticeEngine(requested: Parameters<typeof chooseEngine>[0]): void {
  const { name } = chooseEngine(requested);
  const native = engineFailures().get('native');
  if (requested === 'auto' && name !== 'native' && native) {
    say(`engine ${name}: ${native.message}; dsf doctor tells more`);
  }
}

/** Says why a plan of `dsf tune` that lies beside the model was not used. */
export function noticeTuning({ tuningIgnored }: LoadedModel): void {
  if (tuningIgnored !== undefined) say(tuningIgnored);
}

/** Says that quantised weights take more memory than in the file: the runtime knows floats alone. */
export function noticeDecoded({ checkpoint, weightBytes }: LoadedModel): void {
  let quantised = 0;
  for (const { dtype, bytes } of checkpoint.tensors.values()) if (!isFloatType(dtype)) quantised += bytes;
  if (quantised === 0) return;
  say(`quantised tensors (${formatBytes(quantised)}) are kept as fp16: all weights take ${formatBytes(weightBytes)}`);
}

/** Says what is special about windows of a text. */
export function noticeWindows({ overlap, truncated }: LoadedWindows, name: string): void {
  if (overlap) say(`the ${name} text is short for so many windows: some of them overlap`);
  if (truncated) say(`the ${name} text is longer than what is read at most: only its beginning was used`);
}

/** Lists images that could not be read. @param used those that could. */
export function noticeSkipped(kind: string, skipped: readonly SkippedImage[], used: number): void {
  if (skipped.length === 0) return;
  say(`${skipped.length} of ${used + skipped.length} ${kind} could not be read and were skipped:`);
  for (const { name, reason } of skipped) say(`  ${name}: ${reason}`);
}

/** A part of a text that both kinds of windows hold makes perplexities too good. */
export function noticeShared(calibration: LoadedWindows, evaluation: LoadedWindows): void {
  const shared = sharedText(calibration.windows, evaluation.windows);
  if (shared <= 0.01) return;
  say(
    `${(100 * shared).toFixed(0)} % of the evaluation text is also in the calibration text: the perplexities are too good`,
  );
}

/** The context may be shorter than the windows that were asked for. */
export function cappedSeqLen(asked: number, context: number): number {
  if (context < asked) say(`windows of ${context} tokens: the model's context`);
  return Math.min(asked, context);
}
