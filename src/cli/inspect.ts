import type { Command } from 'commander';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { inspect, inspectionTable } from '../report/inspection.js';
import { printResult } from './terminal.js';

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .description('tensors of a model: sizes, nonzeros, bits per weight')
    .argument('<model>', 'Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache')
    .option('--json', 'print JSON instead of a table')
    .action((path: string, { json = false }: { json?: boolean }) => {
      const checkpoint = openCheckpoint(path);
      const result = inspect(checkpoint);
      checkpoint.close();
      printResult(json ? JSON.stringify(result) : inspectionTable(result));
    });
}
