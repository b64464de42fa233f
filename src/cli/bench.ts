import type { Command } from 'commander';
import type { z } from 'zod';
import { compareSpeeds } from '../evaluation/speed/compare-speeds.js';
import { speedOptionsSchema } from '../evaluation/speed/options.js';
import { speedSentence, speedTable } from '../report/speed-table.js';
import { addFlags } from './flags.js';
import { printResult, say, showStatus } from './terminal.js';

export function addBenchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('speed and memory of a model next to its dense original and to rivals on this machine')
    .argument('<model>', 'Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache')
    .option('--json', 'print JSON instead of a table');
  addFlags(command, speedOptionsSchema);
  command.action(
    async (path: string, { json = false, ...flags }: z.output<typeof speedOptionsSchema> & { json?: boolean }) => {
      const options = speedOptionsSchema.parse(flags);
      const comparison = await compareSpeeds(path, { ...options, onProgress: showStatus });
      for (const { report } of comparison.rows) if (report.model?.tuningIgnored) say(report.model.tuningIgnored);
      if (!json) printResult(speedTable(comparison));
      else printResult(JSON.stringify({ ...comparison, sentence: speedSentence(comparison) }));
    },
  );
}
