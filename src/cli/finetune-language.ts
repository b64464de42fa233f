import { resolve } from 'node:path';
import { loadEvaluation } from '../calibration/load-windows.js';
import { sharedText } from '../calibration/overlap.js';
import { DoubleSparseError } from '../errors.js';
import { finetune } from '../finetuning/finetune.js';
import { finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import { chooseEngine } from '../linalg/engines/select.js';
import { openModel } from '../models/llama/open-model.js';
import { keepOnInterrupt, printFinetuned, progressOf } from './finetune-progress.js';
import { parseOptions } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeWindows } from './notices.js';
import { say } from './terminal.js';

export interface FinetuneFlags {
  data?: string;
  out: string;
  validation?: string;
  teacher?: string;
  freeZeros?: boolean;
  json?: boolean;
}

/** `dsf finetune` of a language model. */
export async function finetuneLanguageModel(path: string, flags: FinetuneFlags): Promise<void> {
  const { data, out: folder, validation: validationText, teacher: teacherPath, json = false } = flags;
  const { freeZeros = false, ...rest } = flags;
  const out = resolve(folder);
  if (data === undefined) {
    throw new DoubleSparseError('option-out-of-range', 'there is no text to train on', {
      hint: 'give one with --data FILE',
    });
  }
  const options = parseOptions(finetuneOptionsSchema, { ...rest, keepZeros: !freeZeros });
  const engine = chooseEngine(options.engine);
  const model = openModel(path, engine);
  const teacher = teacherPath === undefined ? undefined : openModel(teacherPath, engine);
  const seqLen = cappedSeqLen(
    options.seqLen,
    Math.min(model.config.contextLength, teacher?.config.contextLength ?? Number.POSITIVE_INFINITY),
  );
  const { bos, textField, validationWindows: windows } = options;
  const loading = { seqLen, bos, textField };
  const training = await loadEvaluation(model.checkpoint, data, loading);
  noticeWindows(training, 'training');
  const validation =
    validationText === undefined
      ? undefined
      : await loadEvaluation(model.checkpoint, validationText, { ...loading, windows });
  if (validation) noticeWindows(validation, 'validation');
  const common = validation ? sharedText(training.windows, validation.windows) : 0;
  if (common > 0.01)
    say(
      `${(100 * common).toFixed(0)} % of the validation text is also in the training text: it cannot tell when to stop`,
    );
  noticeEngine(options.engine);
  say(
    `${training.windows.length} windows of ${seqLen} tokens: ${((options.steps * options.batch) / training.windows.length).toFixed(1)} times through the text`,
  );
  keepOnInterrupt(out);
  const texts = { training, ...(validation && { validation }) };
  const result = await finetune(model, teacher, texts, out, { ...options, seqLen }, progressOf('tokens'));
  model.checkpoint.close();
  teacher?.checkpoint.close();
  printFinetuned(out, result, json);
}
