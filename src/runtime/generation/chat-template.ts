import { Worker } from 'node:worker_threads';
import { DoubleSparseError } from '../../errors.js';
import { workerFile } from '../../worker-file.js';

/** A message of a chat. Roles that templates know: system, user, assistant. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatTemplateOptions {
  /** Text of named special tokens for the template: bos_token, eos_token, … */
  specialTokens?: Readonly<Record<string, string>>;
  /** What the template's strftime_now tells (default: now). */
  now?: Date;
  /** Most seconds a template may take (default 10); a real one takes milliseconds. */
  seconds?: number;
}

export interface TemplateJob {
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly now: Date;
}

export type TemplateAnswer = { readonly text: string } | { readonly refusal: string } | { readonly failure: string };

/** A template is a program out of a checkpoint: it runs in a thread of its own that may be ended, with so much memory. */
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16 };

/**
 * The text of a chat as the model was trained to see it, up to where the assistant's answer begins: the checkpoint's
 * Jinja template, as transformers' `apply_chat_template(..., add_generation_prompt=True)` renders it.
 * @throws DoubleSparseError `option-out-of-range` when the template refuses the messages (some know no system message),
 *   `file-unsupported` when it cannot be run, takes too long or too much memory
 */
export async function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  { specialTokens = {}, now = new Date(), seconds = 10 }: ChatTemplateOptions = {},
): Promise<string> {
  const variables = { ...specialTokens, messages, tools: null, documents: null, add_generation_prompt: true };
  const answer = await run({ template, variables, now }, seconds);
  if ('refusal' in answer) {
    throw new DoubleSparseError('option-out-of-range', `the chat template refuses these messages: ${answer.refusal}`, {
      data: { option: 'prompt', roles: messages.map(({ role }) => role) },
      hint: 'some models know no system message; most want user and assistant in turn',
    });
  }
  if ('failure' in answer) throw unusable(answer.failure);
  return answer.text;
}

async function run(job: TemplateJob, seconds: number): Promise<TemplateAnswer> {
  const worker = new Worker(workerFile('runtime/generation/chat-template-worker.js'), {
    workerData: job,
    resourceLimits,
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<TemplateAnswer>((resolve, reject) => {
      timer = setTimeout(() => resolve({ failure: `it takes more than ${seconds} seconds` }), 1000 * seconds);
      worker.once('message', resolve);
      worker.once('error', ({ message }) => resolve({ failure: message }));
      worker.once('exit', (code) => reject(unusable(`its thread ended with exit code ${code}`)));
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

function unusable(problem: string): DoubleSparseError {
  return new DoubleSparseError('file-unsupported', `the chat template cannot be used: ${problem}`, {
    hint: 'use the model without --chat, with a prompt in the form that it was trained on',
  });
}
