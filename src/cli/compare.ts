import { type Command, Option } from 'commander';
import { z } from 'zod';
import { compareOptionsSchema } from '../comparison/comparison.js';
import { tuningOptionsSchema } from '../comparison/tuning-options.js';
import { cnnMethodNames } from '../compression/cnn/options.js';
import { compareLanguageModels } from './compare-language.js';
import { type CnnCompareFlags, compareOnnxModels } from './compare-onnx.js';
import { addFlags, flagNames } from './flags.js';
import { addImageFlags, imageFlagNames, isOnnxPath, refuseFlags } from './image-flags.js';
import { commonFlagsSchema, languageFlagsSchema, languageGroup, onnxFlagsSchema, onnxGroup } from './run-flags.js';

const { sparsities, windows } = compareOptionsSchema.shape;
const commonSchema = commonFlagsSchema.extend({
  sparsities,
  ...tuningOptionsSchema.shape,
  methods: z
    .array(z.enum(cnnMethodNames))
    .min(1)
    .optional()
    .describe(
      `methods, separated by commas: ${cnnMethodNames.join(', ')} (default: double-sparse,admm,sparsegpt,wanda,magnitude; of ONNX models auto,obc,admm,magnitude,low-rank)`,
    ),
});
const languageSchema = languageFlagsSchema.extend({ windows });

export function addCompareCommand(program: Command): void {
  const command = program
    .command('compare')
    .description('compress a model by several methods and evaluate all of them next to the dense model')
    .argument('<model>', 'Hugging Face folder, .gguf or .onnx file, or id of a model in the hub cache')
    .option(
      '--keep <folder>',
      'keep the compressed models and finished rows in this folder, and go on from what an interrupted comparison left there',
    )
    .option('--json', 'print JSON instead of a table');
  addFlags(command, commonSchema);
  const language: [string, string][] = [
    ['--text <file>', 'text to evaluate on (default: the embedded State of the Union addresses)'],
    ['--against <model>', 'a smaller dense model: is the compressed one better at as many weights?'],
  ];
  for (const [flag, text] of language) command.addOption(new Option(flag, text).helpGroup(languageGroup));
  addFlags(command, languageSchema, languageGroup);
  addFlags(command, onnxFlagsSchema, onnxGroup);
  addImageFlags(command);
  command.addOption(
    new Option(
      '--calibration-labels <file>',
      'classes of the calibration images, for --finetune (default: their folders, else the dense model is imitated)',
    ).helpGroup(onnxGroup),
  );
  command.action(async (path: string, flags: CnnCompareFlags) => {
    if (isOnnxPath(path)) {
      refuseFlags(
        command,
        ['text', 'against', ...flagNames(languageSchema)],
        'are for language models, not for an ONNX model',
      );
      return compareOnnxModels(path, flags, command);
    }
    refuseFlags(
      command,
      [...imageFlagNames, ...flagNames(onnxFlagsSchema), 'calibrationLabels'],
      'are for ONNX models (.onnx), not for a language model',
    );
    return compareLanguageModels(path, flags);
  });
}
