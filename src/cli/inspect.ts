import type { Command } from 'commander';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { inspect, inspectionTable } from '../report/inspection.js';
import { printResult, say } from './terminal.js';

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .description('tensors of a model: sizes, nonzeros, bits per weight')
    .argument('<model>', 'Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache')
    .option('--verify', 'of a compressed model, read and check every value too')
    .option('--json', 'print JSON instead of a table')
    .action((path: string, { verify = false, json = false }: { verify?: boolean; json?: boolean }) => {
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
