import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import { reportEngines } from '../linalg/engines/select.js';
import { formatBytes, renderTable } from '../report/table.js';
import { printResult } from './terminal.js';

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('show what this machine has: processor, memory, engines and their speed')
    .option('--json', 'print JSON instead of a table')
    .action((flags: { json?: boolean }) => {
      const engines = reportEngines();
      const machine = {
        processor: cpus()[0]?.model ?? 'unknown',
        cores: availableParallelism(),
        memoryBytes: totalmem(),
        freeMemoryBytes: freemem(),
        platform: `${process.platform} ${process.arch}`,
        node: process.version,
      };
      if (flags.json) return printResult(JSON.stringify({ machine, engines }));
      const rows = engines.map(({ name, available, chosen, description, reason, speed }) => [
        `${chosen ? '*' : ' '} ${name}`,
        speed ? speed.oneThread.toFixed(1) : '-',
        speed ? `${speed.allThreads.toFixed(1)} (${speed.threads})` : '-',
        available ? `  ${description}` : `  absent: ${reason}`,
      ]);
      const lines = [
        `${machine.processor}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} memory (${formatBytes(machine.freeMemoryBytes)} free), ${machine.platform}, Node ${machine.node}`,
        '',
        renderTable(['  engine', 'GFLOP/s', 'all threads', ''], rows),
        '',
        '* what --engine auto takes',
      ];
      for (const { native } of engines) {
        if (native?.coreType)
          lines.push(`OPENBLAS_CORETYPE=${native.coreType} is set: the library took this processor for an older one`);
        if (native?.betterCoreType)
          lines.push(
            `the environment asks for OPENBLAS_CORETYPE=${process.env.OPENBLAS_CORETYPE}; kernels of ${native.betterCoreType} suit this processor better: unset it, or compare their speed`,
          );
        for (const { file, reason } of native?.passedOver ?? []) lines.push(`passed over ${file}: ${reason}`);
      }
      printResult(lines.join('\n'));
    });
}
