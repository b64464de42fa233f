#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { DoubleSparseError, describeError } from '../errors.js';
import { addBenchCommand } from './bench.js';
import { addCompareCommand } from './compare.js';
import { addCompressCommand } from './compress.js';
import { addDoctorCommand } from './doctor.js';
import { addEvalCommand } from './eval.js';
import { addExportCommand } from './export.js';
import { addFinetuneCommand } from './finetune.js';
import { addGenerateCommand } from './generate.js';
import { addInspectCommand } from './inspect.js';
import { addLayersCommand } from './layers.js';
import { clearStatus, commandLine, say } from './terminal.js';
import { addTuneCommand } from './tune.js';

/** Exit codes: 0 ok, 1 failed, 2 usage, 3 verification failed; 130 interrupted. */
const failed = 1;
const usage = 2;
const verificationFailed = 3;
const interrupted = 130;

function exitCodeOf(error: unknown): number {
  if (!(error instanceof DoubleSparseError)) return failed;
  if (error.code === 'option-out-of-range') return usage;
  return error.code === 'verification-failed' ? verificationFailed : failed;
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const program = new Command('dsf')
  .description('makes neural networks smaller and faster by Double Sparse Factorization')
  .version(version)
  .exitOverride()
  .showHelpAfterError('(dsf --help lists commands, dsf COMMAND --help their options)');
addCompressCommand(program);
addCompareCommand(program);
addFinetuneCommand(program);
addEvalCommand(program);
addGenerateCommand(program);
addInspectCommand(program);
addTuneCommand(program);
addBenchCommand(program);
addExportCommand(program);
addLayersCommand(program);
addDoctorCommand(program);
for (const command of program.commands) command.copyInheritedSettings(program);

try {
  await program.parseAsync();
} catch (error) {
  clearStatus();
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : usage;
  } else if (error instanceof DoubleSparseError && error.code === 'interrupted') {
    say(`${error.message}. To go on:\n  ${commandLine()}`);
    process.exitCode = interrupted;
  } else {
    say(`dsf: ${describeError(error)}`);
    if (process.env.DSF_DEBUG && error instanceof Error) say(error.stack ?? '');
    process.exitCode = exitCodeOf(error);
  }
}
