import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import type { Checkpoint } from './checkpoint.js';
import { CompressedCheckpoint, type CompressedCheckpointOptions } from './container/checkpoint.js';
import { quantizationMethod } from './container/description.js';
import { GgufCheckpoint } from './gguf/checkpoint.js';
import { findSnapshot, hubCacheFolder, isHubId } from './hub-cache.js';
import { readJsonObject } from './json-file.js';
import { unreadable } from './positional-file.js';
import { SafetensorsCheckpoint } from './safetensors/checkpoint.js';

/**
 * Opens a model: a Hugging Face folder with safetensors, a compressed folder, a .gguf file (or a folder with one and
 * no safetensors), or the id of a model in the hub cache. A path that exists goes before an id.
 * @param options of a compressed folder.
 * @throws DoubleSparseError `not-found` that says where it was looked for, `file-unreadable`, `file-malformed`,
 *   `file-unsupported`
 */
export function openCheckpoint(model: string, options: CompressedCheckpointOptions = {}): Checkpoint {
  try {
    return open(model, options);
  } catch (error) {
    // Folders that may not be listed, names that the system does not take, loops of links, ….
    throw error instanceof DoubleSparseError ? error : unreadable(model, error);
  }
}

function open(model: string, options: CompressedCheckpointOptions): Checkpoint {
  const status = statSync(model, { throwIfNoEntry: false });
  if (status?.isFile()) {
    if (model.endsWith('.safetensors')) {
      throw new DoubleSparseError('file-unsupported', `${model} is one file of a model`, {
        data: { path: model },
        hint: 'give its folder, which also holds config.json and the tokenizer',
      });
    }
    return new GgufCheckpoint(model);
  }
  if (status?.isDirectory()) return openFolder(model, options);
  if (status)
    throw new DoubleSparseError('file-unreadable', `${model} is not a file or folder`, { data: { path: model } });
  const snapshot = findSnapshot(model);
  if (snapshot) return openFolder(snapshot, options);
  const cache = hubCacheFolder();
  const looked = isHubId(model) ? ` and no model of that name in the hub cache ${cache}` : '';
  throw new DoubleSparseError('not-found', `there is no file or folder ${model}${looked}`, {
    data: { model, cache },
    hint: isHubId(model)
      ? `download it first: hf download ${model}; or give the path of a folder or .gguf file`
      : 'give the path of a Hugging Face folder or .gguf file, or the id of a model in the hub cache',
  });
}

function openFolder(folder: string, options: CompressedCheckpointOptions): Checkpoint {
  const names = readdirSync(folder);
  const models = names.filter((name) => name.endsWith('.gguf'));
  if (!names.includes('config.json') && models.length > 0) {
    if (models.length === 1) return new GgufCheckpoint(join(folder, models[0] as string));
    throw new DoubleSparseError(
      'not-found',
      `${folder} holds ${models.length} GGUF files: ${models.slice(0, 8).join(', ')}`,
      {
        data: { folder, models },
        hint: 'give one of the files',
      },
    );
  }
  if (!names.includes('config.json')) {
    throw new DoubleSparseError('not-found', `${folder} is no model: it has no config.json and no .gguf file`, {
      data: { folder },
      hint: 'a model folder holds config.json, tokenizer.json and model.safetensors (or its shards with their index)',
    });
  }
  const method = quantizationOf(folder);
  if (method === quantizationMethod) return new CompressedCheckpoint(folder, options);
  if (method !== undefined) {
    throw new DoubleSparseError('file-unsupported', `${folder} is quantised with ${method}, which is not read`, {
      data: { folder, method },
      hint: 'use the model it was made from',
    });
  }
  return new SafetensorsCheckpoint(folder);
}

/** The `quant_method` of config.json, undefined for a dense model. */
function quantizationOf(folder: string): string | undefined {
  const { quantization_config: quantization } = readJsonObject(join(folder, 'config.json'));
  if (typeof quantization !== 'object' || quantization === null) return undefined;
  return String((quantization as Record<string, unknown>).quant_method);
}
