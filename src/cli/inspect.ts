import type { Command } from 'commander';
import { z } from 'zod';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { inspect, inspectionTable } from '../report/inspection.js';
import { inspectOnnx, onnxInspectionText } from '../report/onnx-inspection.js';
import { addFlags, flagNames } from './flags.js';
import { isOnnxPath, refuseFlags } from './image-flags.js';
import { printResult, say } from './terminal.js';

const onnxSchema = z.object({
  inputShape: z
    .array(
      z
        .int()
        .min(1)
        .max(2 ** 20),
    )
    .min(1)
    .max(8)
    .optional()
    .describe('of an ONNX model: input to count multiply-adds for, such as 1,3,48,320 (default: as the model says)'),
});

interface Flags extends z.output<typeof onnxSchema> {
  verify?: boolean;
  json?: boolean;
}

export function addInspectCommand(program: Command): void {
  const command = program
    .command('inspect')
    .description('tensors or layers of a model: sizes, nonzeros, bits per weight, multiply-adds')
    .argument(
      '<model>',
      'Hugging Face folder, compressed folder, .gguf or .onnx file, or id of a model in the hub cache',
    )
    .option('--verify', 'of a compressed model, read and check every value too')
    .option('--json', 'print JSON instead of a table');
  addFlags(command, onnxSchema);
  command.action(async (path: string, { verify = false, json = false, inputShape }: Flags) => {
    if (isOnnxPath(path)) {
      refuseFlags(command, ['verify'], 'is for folders that dsf compress made');
      const model = openOnnx(path);
      const result = await inspectOnnx(model, inputShape);
      model.close();
      return printResult(json ? JSON.stringify(result) : onnxInspectionText(result));
    }
    refuseFlags(command, flagNames(onnxSchema), 'is for ONNX models (.onnx)');
    const checkpoint = openCheckpoint(path);
    const result = inspect(checkpoint);
    if (verify && checkpoint instanceof CompressedCheckpoint) {
      checkpoint.verify();
      say('every support and value is sound');
    } else if (verify) say('only compressed models can be verified: nothing was checked');
    checkpoint.close();
    printResult(json ? JSON.stringify(result) : inspectionTable(result));
  });
}
