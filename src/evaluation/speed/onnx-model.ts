import { InferenceSession, Tensor } from 'onnxruntime-node';
import { DoubleSparseError } from '../../errors.js';
import type { LlamaConfig } from '../../models/llama/config.js';

/** A checkpoint exported to ONNX, with the keys and values of the positions so far. */
export interface OnnxModel {
  /** Appends ids; logits behind each of them, ids.length x vocabularySize. */
  extend(ids: Uint32Array): Promise<Float32Array>;
  /** Forgets all positions. */
  reset(): void;
}

/**
 * Opens an export with keys and values as inputs, as transformers.js runs it with onnxruntime: input_ids,
 * attention_mask, position_ids where it has them, past_key_values.N.key and .value; logits, present.N.key and .value.
 * @throws DoubleSparseError `file-unsupported` for an export with other inputs
 */
export async function openOnnxModel(file: string, config: LlamaConfig, threads: number): Promise<OnnxModel> {
  const { layers, keyValueHeads, headSize } = config;
  const session = await InferenceSession.create(file, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  const past = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat();
  const cached = past.map((name) => `past_key_values.${name}`);
  const known = new Set(['input_ids', 'attention_mask', 'position_ids', ...cached]);
  const unknown = session.inputNames.filter((name) => !known.has(name));
  if (unknown.length > 0 || !cached.every((name) => session.inputNames.includes(name))) {
    throw new DoubleSparseError('file-unsupported', `${file} is not an export with keys and values as inputs`, {
      data: { file, unknown },
      hint: 'export it with its cache (task text-generation-with-past), or move it away',
    });
  }
  const empty = (): Record<string, Tensor> =>
    Object.fromEntries(past.map((name) => [name, new Tensor('float32', [], [1, keyValueHeads, 0, headSize])]));
  let cache = empty();
  let position = 0;
  return {
    reset() {
      cache = empty();
      position = 0;
    },
    async extend(ids) {
      const feeds: Record<string, Tensor> = {
        input_ids: integers(ids.length, (i) => ids[i] as number),
        attention_mask: integers(position + ids.length, () => 1),
        ...Object.fromEntries(past.map((name) => [`past_key_values.${name}`, cache[name] as Tensor])),
      };
      if (session.inputNames.includes('position_ids')) feeds.position_ids = integers(ids.length, (i) => position + i);
      const results = await session.run(feeds);
      cache = Object.fromEntries(past.map((name) => [name, results[`present.${name}`] as Tensor]));
      position += ids.length;
      return results.logits?.data as Float32Array;
    },
  };
}

/** 1 x length. */
function integers(length: number, value: (i: number) => number): Tensor {
  const data = BigInt64Array.from({ length }, (_, i) => BigInt(value(i)));
  return new Tensor('int64', data, [1, length]);
}
