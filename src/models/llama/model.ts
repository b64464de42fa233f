import type { Checkpoint } from '../../formats/checkpoint.js';
import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { Block } from './block.js';
import { type LlamaConfig, parseLlamaConfig } from './config.js';
import { checkIds, embed } from './embedding.js';
import { Head } from './head.js';
import { rotaryTable } from './rope.js';
import { checkTensors } from './tensors.js';
import { type BlockWeights, type HeadWeights, readBlock, readEmbedding, readHead } from './weights.js';

/** A checkpoint of the LLaMA family whose configuration and tensors have been checked. Holds no weights. */
export class LlamaModel {
  readonly checkpoint: Checkpoint;
  readonly config: LlamaConfig;

  /**
   * @param ignoredOptions options of config.json that the caller declares harmless.
   * @throws DoubleSparseError see {@link parseLlamaConfig} and {@link checkTensors}
   */
  constructor(checkpoint: Checkpoint, ignoredOptions: readonly string[] = []) {
    this.checkpoint = checkpoint;
    this.config = parseLlamaConfig(checkpoint.config, ignoredOptions);
    checkTensors(this.config, checkpoint);
  }

  /** See {@link readBlock}. */
  readBlock(layer: number, into?: BlockWeights): BlockWeights {
    return readBlock(this.checkpoint, this.config, layer, into);
  }

  /** See {@link readEmbedding}. */
  readEmbedding(): Matrix {
    return readEmbedding(this.checkpoint, this.config);
  }

  /** See {@link readHead}. */
  readHead(embedding?: Matrix): HeadWeights {
    return readHead(this.checkpoint, this.config, embedding);
  }

  /**
   * Logits of one sequence, positions x vocabularySize, on this thread; one block's weights in memory at a time.
   * For checks: many sequences go through a ForwardPool.
   * @throws DoubleSparseError `option-out-of-range` for ids outside of the vocabulary
   */
  logits(ids: ArrayLike<number>, compute: Compute): Matrix {
    const { config } = this;
    checkIds(ids, config.vocabularySize);
    const embedding = this.readEmbedding();
    const rotary = rotaryTable(config.rope, config.headSize, ids.length);
    return compute.scope(() => {
      const hidden = compute.matrix(ids.length, config.hiddenSize);
      embed(embedding, ids, hidden);
      let weights: BlockWeights | undefined;
      for (let layer = 0; layer < config.layers; layer++) {
        weights = this.readBlock(layer, weights);
        new Block(compute, config, layer, weights).forward(hidden, rotary);
      }
      const logits = { rows: ids.length, columns: config.vocabularySize };
      const target = { ...logits, data: new Float32Array(logits.rows * logits.columns) };
      new Head(compute, config, this.readHead(embedding)).logits(hidden, target);
      return target;
    });
  }
}
