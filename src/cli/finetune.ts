import type { Command } from 'commander';
import { z } from 'zod';
import { DoubleSparseError } from '../errors.js';
import { finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import { type FinetuneFlags, finetuneLanguageModel } from './finetune-language.js';
import { finetuneOnnxModel } from './finetune-onnx.js';
import { addFlags, flagNames, givenFlags, kebab } from './flags.js';
import { addImageFlags, type ImageFlags, imageFlagNames, isOnnxPath, refuseFlags } from './image-flags.js';
import { augmentationFlagsSchema, languageGroup, onnxGroup } from './run-flags.js';

const { seqLen, textField, bos, keepZeros, ...common } = finetuneOptionsSchema.shape;
const languageSchema = finetuneOptionsSchema.pick({ seqLen: true, textField: true, bos: true }).extend({
  freeZeros: z
    .boolean()
    .default(false)
    .describe(`train the zeros of a pruned dense model, too (else: ${keepZeros.description})`),
});
const commonSchema = finetuneOptionsSchema.pick(
  Object.fromEntries(Object.keys(common).map((name) => [name, true])) as Record<keyof typeof common, true>,
);

/** Flags that mean something only beside another one. */
const companions = {
  teacher: ['teacherWeight'],
  validation: ['evaluateEvery', 'patience', 'validationWindows', 'validationLabels'],
};

/** @throws DoubleSparseError `option-out-of-range` naming flags that were given without the one that they need */
function refuseWithout(command: Command, needed: keyof typeof companions): void {
  const given = givenFlags(command);
  const idle = companions[needed].filter((name) => given.includes(name)).map((name) => `--${kebab(name)}`);
  if (given.includes(needed) || idle.length === 0) return;
  throw new DoubleSparseError('option-out-of-range', `--${needed} is not given, so nothing needs ${idle.join(', ')}`, {
    data: { options: idle },
    hint: `add --${needed}, or leave ${idle.length === 1 ? 'this' : 'these'} away`,
  });
}

export function addFinetuneCommand(program: Command): void {
  const command = program
    .command('finetune')
    .description('train the values of a compressed or dense model, its supports as they are')
    .argument('<model>', 'compressed or Hugging Face folder, .onnx file, or id of a model in the hub cache')
    .requiredOption('--out <path>', 'folder of the trained model, or file of an ONNX model')
    .option('--data <file>', 'text to train on: .txt, .jsonl or .parquet; images of an ONNX model go to --images')
    .option('--validation <path>', 'text, or images, that decide which step is the best and when to stop')
    .option('--teacher <model>', 'the dense model, to imitate its predictions')
    .option('--json', 'print the result as JSON');
  addFlags(command, commonSchema);
  addFlags(command, languageSchema, languageGroup);
  addImageFlags(command, { purpose: 'train', without: ['batchSize', 'layout'] });
  command.option('--validation-labels <file>', 'classes of the validation images, as --labels');
  addFlags(command, augmentationFlagsSchema, onnxGroup);
  command.action(async (path: string, flags: FinetuneFlags & ImageFlags & { validationLabels?: string }) => {
    for (const needed of ['teacher', 'validation'] as const) refuseWithout(command, needed);
    if (isOnnxPath(path)) {
      refuseFlags(command, ['data', ...flagNames(languageSchema)], 'are for language models, not for an ONNX model');
      return finetuneOnnxModel(path, flags, command);
    }
    refuseFlags(
      command,
      [...imageFlagNames, 'validationLabels', ...flagNames(augmentationFlagsSchema)],
      'are for ONNX models (.onnx), not for a language model',
    );
    return finetuneLanguageModel(path, flags);
  });
}
