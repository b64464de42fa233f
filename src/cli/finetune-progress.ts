import { existsSync } from 'node:fs';
import type { FinetuneEvent, FinetuneResult } from '../finetuning/finetune-events.js';
import { statePathIn } from '../finetuning/training-state.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { endInterrupted } from './interrupt.js';
import { commandLine, printResult, say } from './terminal.js';

/** While this process makes steps. */
let stopRun: (() => void) | undefined;

/** Ctrl-C ends the run behind the step at hand, with a checkpoint; the second one ends it at once. */
export function keepOnInterrupt(out: string): void {
  process.on('SIGINT', () => {
    if (stopRun) {
      say('stopping behind this step, with a checkpoint; Ctrl-C once more ends at once');
      stopRun();
      stopRun = undefined;
      return;
    }
    const kept = existsSync(statePathIn(`${out}.run`))
      ? `the last checkpoint is in ${out}.run. To go on`
      : 'there is no checkpoint yet. To start again';
    void endInterrupted(() => say(`interrupted; ${kept}:\n  ${commandLine()}`));
  });
}

export function printFinetuned(out: string, result: FinetuneResult, json: boolean): void {
  const { steps, writtenStep, validationLoss, trained, seconds } = result;
  const loss = validationLoss === null ? '' : `, validation loss ${validationLoss.toFixed(4)}`;
  if (json) printResult(JSON.stringify({ out, ...result }));
  else
    printResult(
      `${out}: ${trained} values trained for ${steps} steps, those of step ${writtenStep} written${loss}; ${formatSeconds(seconds)}`,
    );
}

function sayZeros({ kept, matrices, zeros, entries }: Extract<FinetuneEvent, { kind: 'zeros' }>): void {
  const share = `${((100 * zeros) / entries).toFixed(1)} % of their entries`;
  if (kept && matrices > 0) say(`zeros of ${matrices} matrices stay (${share}); --free-zeros trains them, too`);
  else if (matrices > 0) say(`zeros of ${matrices} matrices are trained (${share}): their sparsity is lost`);
  else if (!kept) say('--free-zeros changes nothing: no trained matrix is sparse and stored dense');
}

function follow(event: FinetuneEvent): void {
  if (event.kind === 'start') stopRun = event.stop;
  else if (event.kind === 'trained') stopRun = undefined;
}

/** @param unit of what is predicted. */
export function stepLine(event: Extract<FinetuneEvent, { kind: 'step' }>, unit: 'tokens' | 'images'): string {
  const { step, steps, loss, gradientNorm, predictionsPerSecond, secondsLeft } = event;
  const place = `[${String(step).padStart(String(steps).length)}/${steps}]`;
  return `${place} loss ${loss.toFixed(4)}  gradient ${gradientNorm.toFixed(3)}  ${predictionsPerSecond.toFixed(0)} ${unit}/s  eta ${formatSeconds(secondsLeft)}  memory ${formatBytes(process.memoryUsage.rss())}`;
}

/** @param unit of what is predicted. */
export const progressOf =
  (unit: 'tokens' | 'images') =>
  (event: FinetuneEvent): void => {
    follow(event);
    if (event.kind === 'zeros') sayZeros(event);
    else if (event.kind === 'discarded') say(`the checkpoint is damaged, the run starts over: ${event.problem}`);
    else if (event.kind === 'start') {
      const from = event.resumedAt > 0 ? `, going on behind step ${event.resumedAt}` : '';
      say(`${event.trained} trained values, ${event.lanes} threads${from}`);
    } else if (event.kind === 'step') say(stepLine(event, unit));
    else if (event.kind === 'validation') {
      const { correct } = event.means;
      const accuracy = correct === undefined ? '' : `, accuracy ${(100 * correct).toFixed(2)} %`;
      const best = event.best ? ', the best so far' : '';
      say(`step ${event.step}: validation loss ${event.loss.toFixed(4)}${accuracy}${best}`);
    } else if (event.kind === 'stopped')
      say(`stopped behind step ${event.step}: the validation loss was best at step ${event.bestStep}`);
  };
