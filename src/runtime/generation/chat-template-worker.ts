import { parentPort, workerData } from 'node:worker_threads';
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import type { TemplateAnswer, TemplateJob } from './chat-template.js';
import { strftime } from './strftime.js';

/** What a template says with raise_exception: the messages are not as it wants them. */
class Refusal extends Error {}

/** Templates count messages and their parts. */
const longestRange = 1e6;

/** The integers from start (default 0) to before stop, as in Python. */
function range(...bounds: number[]): number[] {
  const [start, stop, step = 1] = bounds.length === 1 ? [0, ...bounds] : bounds;
  const length = Math.max(0, Math.ceil(((stop as number) - (start as number)) / step));
  if (!(length <= longestRange)) throw new RangeError(`range(${bounds}) is not at most ${longestRange} numbers`);
  return Array.from({ length }, (_, i) => (start as number) + i * step);
}

/** No context has room for more. */
const maximumCharacters = 1e8;

/** As transformers sets up Jinja for templates. */
const globals = (now: Date): Readonly<Record<string, unknown>> => ({
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range,
  raise_exception: (message: unknown) => {
    throw new Refusal(String(message));
  },
  strftime_now: (format: unknown) => strftime(now, String(format)),
});

function answer({ template, variables, now }: TemplateJob): TemplateAnswer {
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...globals(now), ...variables })) environment.set(name, value);
    // The library's own `render` has a strftime_now in the machine's language, and a range without a limit.
    const { value } = new Interpreter(environment).run(new Template(template).parsed);
    const text = String(value);
    return text.length <= maximumCharacters ? { text } : { failure: `it gives ${text.length} characters` };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return error instanceof Refusal ? { refusal: message } : { failure: message };
  }
}

parentPort?.postMessage(answer(workerData as TemplateJob));
