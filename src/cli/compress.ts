import { type Command, Option } from 'commander';
import { compressOptionsSchema } from '../compression/compress-options.js';
import { evaluationOptionsSchema } from '../evaluation/options.js';
import { type CompressFlags, compressLanguageModel } from './compress-language.js';
import { compressOnnxModel } from './compress-onnx.js';
import { addFlags, flagNames } from './flags.js';
import { addImageFlags, imageFlagNames, isOnnxPath, refuseFlags } from './image-flags.js';
import {
  commonFlagsSchema,
  languageFlagsSchema,
  languageGroup,
  methodFlag,
  onnxFlagsSchema,
  onnxGroup,
} from './run-flags.js';

const { sparsity } = compressOptionsSchema.shape;
const commonSchema = commonFlagsSchema.extend({ sparsity, method: methodFlag });
const languageSchema = languageFlagsSchema.extend(evaluationOptionsSchema.pick({ windows: true }).shape);

export function addCompressCommand(program: Command): void {
  const command = program
    .command('compress')
    .description('compress a model: calibrate, factorise block by block or layer by layer, write, verify')
    .argument('<model>', 'Hugging Face folder, .gguf or .onnx file, or id of a model in the hub cache')
    .requiredOption('--out <path>', 'folder of the compressed model, or file of an ONNX model')
    .option('--dry-run', 'tell what would be done, before anything is computed')
    .option('--json', 'print the result as JSON');
  addFlags(command, commonSchema);
  addFlags(command, languageSchema, languageGroup);
  const evaluate = new Option('--evaluate <file>', 'afterwards the perplexity of both models on this text');
  command.addOption(evaluate.helpGroup(languageGroup));
  addFlags(command, onnxFlagsSchema, onnxGroup);
  addImageFlags(command);
  command.action(async (path: string, flags: CompressFlags) => {
    if (isOnnxPath(path)) {
      refuseFlags(
        command,
        ['evaluate', ...flagNames(languageSchema)],
        'are for language models, not for an ONNX model',
      );
      return compressOnnxModel(path, flags, command);
    }
    refuseFlags(
      command,
      [...imageFlagNames, ...flagNames(onnxFlagsSchema)],
      'are for ONNX models (.onnx), not for a language model',
    );
    return compressLanguageModel(path, flags);
  });
}
