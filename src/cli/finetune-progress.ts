import type { FinetuneEvent, FinetuneResult } from '../finetuning/training-run.js';
import { formatBytes, formatSeconds } from '../report/table.js';
import { printResult, say } from './terminal.js';

/** Says how to go on when the user stops the run. */
export function keepOnInterrupt(out: string): void {
  process.once('SIGINT', () => {
    say(`interrupted; the last checkpoint is kept in ${out}.run. To go on:\n  dsf ${process.argv.slice(2).join(' ')}`);
    process.exit(130);
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

/** @param unit of what is predicted. */
export const progressOf =
  (unit: 'tokens' | 'images') =>
  (event: FinetuneEvent): void => {
    if (event.kind === 'zeros') sayZeros(event);
    else if (event.kind === 'discarded') say(`the checkpoint is damaged, the run starts over: ${event.problem}`);
    else if (event.kind === 'start') {
      const from = event.resumedAt > 0 ? `, going on behind step ${event.resumedAt}` : '';
      say(`${event.trained} trained values, ${event.lanes} threads${from}`);
    } else if (event.kind === 'step') {
      const { step, steps, loss, gradientNorm, predictionsPerSecond, secondsLeft } = event;
      say(
        `[${String(step).padStart(String(steps).length)}/${steps}] loss ${loss.toFixed(4)}  gradient ${gradientNorm.toFixed(3)}  ${predictionsPerSecond.toFixed(0)} ${unit}/s  eta ${formatSeconds(secondsLeft)}  memory ${formatBytes(process.memoryUsage.rss())}`,
      );
    } else if (event.kind === 'validation') {
      const { correct } = event.means;
      const accuracy = correct === undefined ? '' : `, accuracy ${(100 * correct).toFixed(2)} %`;
      const best = event.best ? ', the best so far' : '';
      say(`step ${event.step}: validation loss ${event.loss.toFixed(4)}${accuracy}${best}`);
    } else say(`stopped behind step ${event.step}: the validation loss was best at step ${event.bestStep}`);
  };
