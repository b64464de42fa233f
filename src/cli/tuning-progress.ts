import type { FinetuneEvent } from '../finetuning/finetune-events.js';
import { stepLine } from './finetune-progress.js';
import { say, showStatus } from './terminal.js';

/** Milliseconds between two lines about the steps of a fine-tuning; those between them are shown on a terminal alone. */
const stepLinesApart = 60_000;
let lastStepLine = 0;

/** Progress of one fine-tuning of a comparison. @param unit of what is predicted. */
export function showTuning(name: string, event: FinetuneEvent, unit: 'tokens' | 'images'): void {
  if (event.kind === 'start') {
    lastStepLine = performance.now();
    const from = event.resumedAt > 0 ? ` goes on behind step ${event.resumedAt}` : '';
    say(`fine-tuning of ${name}${from}: ${event.trained} values, ${event.lanes} threads`);
  } else if (event.kind === 'discarded') say(`the checkpoint of ${name} is damaged, it starts over: ${event.problem}`);
  else if (event.kind === 'step') {
    const line = `${name} ${stepLine(event, unit)}`;
    if (event.step < event.steps && performance.now() - lastStepLine < stepLinesApart) showStatus(line);
    else {
      lastStepLine = performance.now();
      say(line);
    }
  }
}
