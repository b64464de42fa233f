import { DoubleSparseError } from '../../errors.js';
import { type ChatMessage, renderChatTemplate } from './chat-template.js';
import type { GenerationTokenizer } from './generation-tokenizer.js';

/** A text to be continued, a chat to be answered, or token ids as they are. */
export type Prompt = string | readonly ChatMessage[] | Uint32Array;

/**
 * Token ids of a prompt. A text begins with what the tokenizer puts before every text (often the beginning-of-sequence
 * token), a chat with what its template writes; a text without a token with the beginning-of-sequence token.
 * @throws DoubleSparseError `option-out-of-range` for a chat with a model that has no template and for an empty prompt;
 *   of {@link renderChatTemplate}
 */
export async function encodePrompt(tokenizer: GenerationTokenizer, prompt: Prompt): Promise<Uint32Array> {
  const ids = prompt instanceof Uint32Array ? prompt : await encode(tokenizer, prompt);
  if (ids.length > 0) return ids;
  throw new DoubleSparseError('option-out-of-range', 'the prompt is empty', {
    data: { option: 'prompt' },
    hint: 'the model has no beginning-of-sequence token to begin with: give at least a word',
  });
}

async function encode(tokenizer: GenerationTokenizer, prompt: string | readonly ChatMessage[]): Promise<Uint32Array> {
  const { text, chatTemplate, specialTokens } = tokenizer;
  if (typeof prompt === 'string') {
    const ids = Uint32Array.from([...text.prefix, ...text.encode(prompt)]);
    return ids.length === 0 && text.bosId !== undefined ? Uint32Array.of(text.bosId) : ids;
  }
  if (chatTemplate !== undefined) return text.encode(await renderChatTemplate(chatTemplate, prompt, { specialTokens }));
  throw new DoubleSparseError('option-out-of-range', 'the model has no chat template', {
    data: { option: 'chat' },
    hint: 'leave --chat away: a model that was not trained on chats continues a text; or copy the chat_template.jinja of its instruction-tuned version into the folder',
  });
}
