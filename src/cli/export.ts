import { type Command, Option } from 'commander';
import { writeDenseCheckpoint } from '../formats/dense-writer.js';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { printResult, showStatus } from './terminal.js';

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .description('write a model as a plain Hugging Face folder that transformers, vLLM and converters load')
    .argument('<model>', 'compressed folder, or any other model')
    .addOption(new Option('--to <format>', 'what to write').choices(['dense']).default('dense'))
    .requiredOption('--out <folder>', 'folder of the exported model')
    .option('--force', 'replace a model in OUT')
    .action((path: string, { out, force = false }: { out: string; force?: boolean }) => {
      const checkpoint = openCheckpoint(path);
      writeDenseCheckpoint(checkpoint, out, {
        replace: force,
        onTensor: ({ name }, index, total) => showStatus(`${index + 1}/${total} ${name}`),
      });
      checkpoint.close();
      printResult(`${out}: dense, ${checkpoint.tensors.size} tensors`);
    });
}
