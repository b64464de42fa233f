import { openModel } from '../../models/llama/open-model.js';
import { type LoadedModel, loadTokenModel, type RuntimeOptions } from '../load-model.js';
import type { Prompt } from './encode-prompt.js';
import { type GenerateOptions, type GenerationResult, generate } from './generate.js';
import { type GenerationTokenizer, openGenerationTokenizer } from './generation-tokenizer.js';

/**
 * A model that writes text:
 *
 *     const model = await TextGenerator.load('OUT');
 *     for await (const piece of model.generate('Once', { maxTokens: 64 })) process.stdout.write(piece);
 *     await model.close();
 */
export class TextGenerator {
  readonly loaded: LoadedModel;
  readonly tokenizer: GenerationTokenizer;

  private constructor(loaded: LoadedModel, tokenizer: GenerationTokenizer) {
    this.loaded = loaded;
    this.tokenizer = tokenizer;
  }

  /**
   * @param path Hugging Face folder, compressed folder, .gguf file, or id of a model in the hub cache.
   * @throws DoubleSparseError of {@link loadTokenModel} and {@link openGenerationTokenizer}
   */
  static async load(path: string, options: RuntimeOptions = {}): Promise<TextGenerator> {
    const model = openModel(path);
    try {
      const tokenizer = openGenerationTokenizer(model.checkpoint);
      return new TextGenerator(await loadTokenModel(model, options), tokenizer);
    } catch (error) {
      model.checkpoint.close();
      throw error;
    }
  }

  /** One text at a time; see {@link generate}, also for what is thrown. */
  generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<string, GenerationResult, void> {
    return generate(this.loaded.model, this.tokenizer, prompt, options);
  }

  /** Ends the threads and closes the files. */
  async close(): Promise<void> {
    await this.loaded.model.close();
    this.loaded.checkpoint.close();
  }
}
