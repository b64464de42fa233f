import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { type JsonLimits, readJsonFile } from '../json-file.js';
import { DescriptorPool } from '../positional-file.js';
import { SafetensorsFile } from './reader.js';

export const singleFileName = 'model.safetensors';
export const indexFileName = 'model.safetensors.index.json';

/** Same reasons as for a header: a million tensors. */
const indexLimits: JsonLimits = { bytes: 100e6, depth: 8, values: 4e6 };
/** More shards than any published checkpoint by a factor of ten; their headers are all in memory. */
const maximumShards = 4096;

const indexSchema = z.object({
  metadata: z.record(z.string(), z.unknown()).optional(),
  weight_map: z.record(z.string(), z.string()),
});

/** The safetensors files of a folder and the file of each tensor. */
export interface Shards {
  readonly files: readonly SafetensorsFile[];
  readonly fileOf: ReadonlyMap<string, SafetensorsFile>;
  readonly pool: DescriptorPool;
}

/**
 * Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names. Headers are read, tensors are not.
 * @throws DoubleSparseError `not-found` when the folder has neither, or shards are missing (all of them named);
 *   `file-malformed` when the index and the shards disagree or a shard's name leads out of the folder.
 */
export function openShards(folder: string): Shards {
  const pool = new DescriptorPool();
  const indexPath = join(folder, indexFileName);
  const files: SafetensorsFile[] = [];
  try {
    if (!existsSync(indexPath)) {
      const path = join(folder, singleFileName);
      if (!existsSync(path)) {
        const parts = readdirSync(folder).filter((name) => /-\d{5}-of-\d{5}\.safetensors$/.test(name));
        if (parts.length > 0) {
          throw new DoubleSparseError('not-found', `${folder} has ${parts.length} shards and no ${indexFileName}`, {
            data: { folder, shards: parts.slice(0, 8) },
            hint: 'the download is not complete; download the index',
          });
        }
        throw new DoubleSparseError('not-found', `${folder} has no ${singleFileName} and no ${indexFileName}`, {
          data: { folder },
          hint: 'weights must be safetensors (or a .gguf file); convert pytorch_model.bin with transformers first',
        });
      }
      const file = new SafetensorsFile(path, pool);
      files.push(file);
      return { files, fileOf: new Map([...file.header.tensors.keys()].map((name) => [name, file])), pool };
    }
    const weightMap = readIndex(indexPath);
    const names = [...new Set(weightMap.values())].sort();
    const missing = names.filter((name) => !existsSync(join(folder, name)));
    if (missing.length > 0) {
      const rest = missing.length > 8 ? ` and ${missing.length - 8} more` : '';
      throw new DoubleSparseError(
        'not-found',
        `${folder}: ${missing.length} of ${names.length} shards are missing: ${missing.slice(0, 8).join(', ')}${rest}`,
        { data: { folder, missing }, hint: 'the download is not complete; download the missing files' },
      );
    }
    const byName = new Map<string, SafetensorsFile>();
    for (const name of names) {
      const file = new SafetensorsFile(join(folder, name), pool);
      files.push(file);
      byName.set(name, file);
    }
    return { files, fileOf: assign(indexPath, weightMap, byName), pool };
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** Tensor name -> shard file name. */
function readIndex(path: string): Map<string, string> {
  const result = indexSchema.safeParse(readJsonFile(path, indexLimits));
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${path}: ${problem}`, { data: { path } });
  if (!result.success) throw malformed(z.prettifyError(result.error));
  const weightMap = new Map(Object.entries(result.data.weight_map));
  const names = new Set(weightMap.values());
  if (names.size > maximumShards) throw malformed(`${names.size} shards, at most ${maximumShards} are allowed`);
  for (const name of names) {
    // A shard lies beside its index: anything else reaches for files that are not the checkpoint's.
    if (!/^[^/\\\0:]+\.safetensors$/.test(name) || name.startsWith('.')) {
      throw malformed(`${JSON.stringify(name)} is not the name of a safetensors file in the same folder`);
    }
  }
  return weightMap;
}

/** Checks that index and shards name the same tensors in the same places. */
function assign(
  path: string,
  weightMap: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, SafetensorsFile>,
): Map<string, SafetensorsFile> {
  const fileOf = new Map<string, SafetensorsFile>();
  const wrong = (problem: string, name: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${path}: ${problem}`, {
      data: { path, name },
      hint: 'the index belongs to other shards; download the whole checkpoint again',
    });
  for (const [name, shard] of weightMap) {
    const file = files.get(shard) as SafetensorsFile;
    if (!file.header.tensors.has(name))
      throw wrong(`${shard} does not hold ${name}, which the index places there`, name);
    fileOf.set(name, file);
  }
  for (const [shard, file] of files) {
    for (const name of file.header.tensors.keys()) {
      if (!fileOf.has(name)) throw wrong(`${shard} holds ${name}, which the index does not name`, name);
      if (fileOf.get(name) !== file) throw wrong(`${name} is in ${shard} and in ${weightMap.get(name)}`, name);
    }
  }
  return fileOf;
}
