import type { Command } from 'commander';
import { z } from 'zod';
import { DoubleSparseError } from '../errors.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { formatBytes, renderTable } from '../report/table.js';
import { planTotals, tunePlan } from '../runtime/choose-plan.js';
import { fastestBuild } from '../runtime/kernels.js';
import { tunedPlanPath, writeTunedPlan } from '../runtime/tuned-plan.js';
import { addFlags, memorySchema } from './flags.js';
import { printResult, say } from './terminal.js';

const schema = z.object({ memory: memorySchema });

export function addTuneCommand(program: Command): void {
  const command = program
    .command('tune')
    .description('measure how each compressed product runs fastest here, and keep that beside the model')
    .argument('<model>', 'compressed folder, or id of one in the hub cache')
    .option('--json', 'print JSON instead of a table');
  addFlags(command, schema);
  command.action((path: string, { json = false, ...flags }: z.output<typeof schema> & { json?: boolean }) => {
    const { memory } = schema.parse(flags);
    const checkpoint = openCheckpoint(path);
    try {
      if (!(checkpoint instanceof CompressedCheckpoint)) throw nothingToTune(path);
      const tuned = tunePlan(checkpoint, fastestBuild(), memory === undefined ? {} : { memory });
      writeTunedPlan(checkpoint, tuned);
      say(`${tunedPlanPath(checkpoint)}: used by generate, eval and bench on ${tuned.processor}`);
      if (json) return printResult(JSON.stringify(tuned));
      const rows = planTotals(checkpoint, tuned.plan, tuned.costs).map(
        ({ representation, products, bytes, milliseconds }) => [
          representation,
          String(products),
          formatBytes(bytes),
          milliseconds.toFixed(2),
        ],
      );
      printResult(renderTable(['representation', 'products', 'bytes', 'ms/token (one thread)'], rows));
    } finally {
      checkpoint.close();
    }
  });
}

function nothingToTune(path: string): DoubleSparseError {
  return new DoubleSparseError('file-unsupported', `${path} is not compressed: there is nothing to choose`, {
    data: { path },
    hint: 'make a compressed model of it first: dsf compress',
  });
}
