import { resolve } from 'node:path';
import type { Command } from 'commander';
import { loadEvaluation } from '../calibration/load-windows.js';
import { sharedText } from '../calibration/overlap.js';
import { finetune } from '../finetuning/finetune.js';
import { type FinetuneOptions, finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import type { FinetuneEvent } from '../finetuning/training-run.js';
import { openModel } from '../models/llama/open-model.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { addFlags } from './flags.js';
import { cappedSeqLen, noticeEngine, noticeWindows } from './notices.js';
import { printResult, say } from './terminal.js';

interface OwnFlags {
  data: string;
  out: string;
  validation?: string;
  teacher?: string;
  json?: boolean;
}

export function addFinetuneCommand(program: Command): void {
  const command = program
    .command('finetune')
    .description('train the values of a compressed or dense model, its supports as they are')
    .argument('<model>', 'compressed or Hugging Face folder, or id of a model in the hub cache')
    .requiredOption('--data <file>', 'text to train on: .txt, .jsonl or .parquet')
    .requiredOption('--out <folder>', 'folder of the trained model')
    .option('--validation <file>', 'text that decides which step is the best and when to stop')
    .option('--teacher <model>', 'the dense model, to imitate its predictions')
    .option('--json', 'print the result as JSON');
  addFlags(command, finetuneOptionsSchema);
  command.action(async (path: string, flags: FinetuneOptions & OwnFlags) => {
    const { data, out: folder, validation: validationText, teacher: teacherPath, json = false, ...rest } = flags;
    const out = resolve(folder);
    const options = finetuneOptionsSchema.parse(rest);
    const model = openModel(path);
    const teacher = teacherPath === undefined ? undefined : openModel(teacherPath);
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
    process.once('SIGINT', () => {
      say(
        `interrupted; the last checkpoint is kept in ${out}.run. To go on:\n  dsf ${process.argv.slice(2).join(' ')}`,
      );
      process.exit(130);
    });
    const texts = { training, ...(validation && { validation }) };
    const result = await finetune(model, teacher, texts, out, { ...options, seqLen }, progressTo);
    model.checkpoint.close();
    teacher?.checkpoint.close();
    const { steps, writtenStep, validationLoss, trained, seconds } = result;
    const loss = validationLoss === null ? '' : `, validation loss ${validationLoss.toFixed(4)}`;
    if (json) printResult(JSON.stringify({ out, ...result }));
    else
      printResult(
        `${out}: ${trained} values trained for ${steps} steps, those of step ${writtenStep} written${loss}; ${formatSeconds(seconds)}`,
      );
  });
}

function progressTo(event: FinetuneEvent): void {
  if (event.kind === 'start') {
    const from = event.resumedAt > 0 ? `, going on behind step ${event.resumedAt}` : '';
    say(`${event.trained} trained values, ${event.lanes} threads${from}`);
  } else if (event.kind === 'step') {
    const { step, steps, loss, gradientNorm, predictionsPerSecond, secondsLeft } = event;
    say(
      `[${String(step).padStart(String(steps).length)}/${steps}] loss ${loss.toFixed(4)}  gradient ${gradientNorm.toFixed(3)}  ${predictionsPerSecond.toFixed(0)} tokens/s  eta ${formatSeconds(secondsLeft)}  memory ${formatBytes(process.memoryUsage.rss())}`,
    );
  } else if (event.kind === 'validation') {
    say(`step ${event.step}: validation loss ${event.loss.toFixed(4)}${event.best ? ', the best so far' : ''}`);
  } else say(`stopped behind step ${event.step}: the validation loss was best at step ${event.bestStep}`);
}
