import { resolve } from 'node:path';
import { openCheckpoint } from '../../formats/open-checkpoint.js';
import { openModel } from '../../models/llama/open-model.js';
import type { LoadedContender, SpeedSettings } from './contender.js';
import { importPackage } from './installed-package.js';
import { loadTimed, type TimedModel, timedRounds } from './timed-rounds.js';

/** What is used of node-llama-cpp 3. */
interface LlamaModule {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: Record<string, unknown>): Promise<{
      createContext(options: Record<string, unknown>): Promise<{ getSequence(): LlamaSequence }>;
    }>;
  }>;
}

interface LlamaSequence {
  /** Yields a sampled token behind the tokens; what is passed to next() takes its place. */
  evaluate(tokens: number[], options: Record<string, unknown>): AsyncGenerator<number, void, number[]>;
  clearHistory(): Promise<void>;
}

/**
 * llama.cpp on a GGUF file of the model, on the processor alone.
 * @param path the checkpoint, for its vocabulary.
 * @param module file of the package.
 * @throws DoubleSparseError `file-unsupported` for a package with another interface, and of the checkpoints
 */
export async function loadLlamaContender(
  path: string,
  file: string,
  module: string,
  settings: SpeedSettings,
): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const llama = await importPackage<LlamaModule>(module, ['getLlama']);
  const { model, ...loaded } = await loadTimed(() => openLlamaModel(llama, file, settings));
  return {
    report: { description: `node-llama-cpp, ${weightType(file)}`, ...loaded },
    round: timedRounds(model, config.vocabularySize, settings),
  };
}

async function openLlamaModel(
  { getLlama }: LlamaModule,
  file: string,
  { threads, prompts, tokens }: SpeedSettings,
): Promise<TimedModel> {
  // Prebuilt binaries alone: nothing is downloaded or compiled.
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' });
  const model = await llama.loadModel({ modelPath: resolve(file), gpuLayers: 0 });
  const context = await model.createContext({ contextSize: Math.max(...prompts) + tokens + 1, threads });
  const sequence = context.getSequence();
  let generated: AsyncGenerator<number, void, number[]> | undefined;
  return {
    async reset() {
      await generated?.return();
      generated = undefined;
      await sequence.clearHistory();
    },
    async extend(ids) {
      if (generated) await generated.next([...ids]);
      else {
        generated = sequence.evaluate([...ids], { temperature: 0, yieldEogToken: true });
        await generated.next();
      }
    },
  };
}

/** The type that most bytes of a GGUF file's weights are of. */
function weightType(file: string): string {
  const checkpoint = openCheckpoint(file);
  checkpoint.close();
  const bytes = new Map<string, number>();
  for (const tensor of checkpoint.tensors.values())
    bytes.set(tensor.dtype, (bytes.get(tensor.dtype) ?? 0) + tensor.bytes);
  return [...bytes].sort(([, a], [, b]) => b - a)[0]?.[0] ?? 'unknown type';
}
