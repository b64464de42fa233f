import type { Command } from 'commander';
import { readLayers } from '../compression/layer-files.js';
import { type LayersOptions, layersOptionsSchema } from '../compression/layers-options.js';
import { runLayers } from '../compression/run-layers.js';
import { layersTable } from '../report/layers-table.js';
import { formatBytes, formatError, formatSeconds } from '../report/table.js';
import { addFlags } from './flags.js';
import { noticeEngine } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

export function addLayersCommand(program: Command): void {
  const command = program
    .command('layers')
    .description(
      'run methods on the layers of a safetensors file (NAME.weight with NAME.gram) and compare their errors',
    )
    .argument('<file...>', 'safetensors files')
    .option('--json', 'print JSON instead of a table');
  addFlags(command, layersOptionsSchema);
  command.action(async (files: string[], flags: LayersOptions & { json?: boolean }) => {
    const options = layersOptionsSchema.parse(flags);
    const layers = files.flatMap(readLayers);
    noticeEngine(options.engine);
    showStatus(`${layers.length} layers, ${options.methods.length} methods ...`);
    const run = await runLayers(layers, options, ({ done, total, method, results }) => {
      for (const { name, metrics } of results) {
        const damping = metrics.damping > 0 ? `  damping raised by ${metrics.damping.toPrecision(1)}` : '';
        say(
          `[${done}/${total}] ${name}  ${method}  error ${formatError(metrics.relativeError)}  ${formatSeconds(metrics.seconds)}${damping}`,
        );
      }
      showStatus(`${done} of ${total} jobs done ...`);
    });
    const peak = formatBytes(process.resourceUsage().maxRSS * 1024);
    say(
      `${formatSeconds(run.seconds)} with engine ${run.engine.name}, ${run.workers} workers x ${run.blasThreads} threads; peak memory ${peak}`,
    );
    printResult(flags.json ? JSON.stringify({ layers: run.layers }) : layersTable(run));
  });
}
