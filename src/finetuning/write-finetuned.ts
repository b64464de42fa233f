import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { compressedConfig, describeProducts, factorTensors, metadataKey } from '../formats/container/description.js';
import { claimModelFolder, commitModelFolder } from '../formats/model-folder.js';
import { openCheckpoint } from '../formats/open-checkpoint.js';
import { SafetensorsCheckpoint } from '../formats/safetensors/checkpoint.js';
import { ShardedWriter } from '../formats/safetensors/sharded-writer.js';
import { firstNonFinite } from '../linalg/finite.js';
import type { StoredValues } from './collect-parameters.js';

/**
 * The safetensors files behind a model.
 * @throws DoubleSparseError `file-unsupported` for GGUF, whose types cannot be written.
 */
export function storedTensors(source: Checkpoint): SafetensorsCheckpoint {
  const stored = source instanceof CompressedCheckpoint ? source.stored : source;
  if (stored instanceof SafetensorsCheckpoint) return stored;
  throw new DoubleSparseError('file-unsupported', `${source.path}: models in ${source.format} are not trained`, {
    data: { path: source.path, format: source.format },
    hint: `make a folder of it first: dsf export ${source.path} --to dense --out FOLDER`,
  });
}

/**
 * Writes a model with other values: every tensor of the source with its name, type and shape, supports byte for byte,
 * so that no nonzero is lost or added; values rounded to the type of the file. Then reads it back and compares.
 * @param settings recorded in `quantization_config` of a compressed model.
 * @throws DoubleSparseError `non-finite-value` for values that the type does not hold, `verification-failed`,
 *   `file-exists`, `disk-full`, `file-unwritable`
 */
export function writeFinetuned(
  source: Checkpoint,
  folder: string,
  values: Float32Array,
  stored: readonly StoredValues[],
  { settings, replace }: { settings: Readonly<Record<string, unknown>>; replace: boolean },
): void {
  claimModelFolder(folder, source, replace);
  const files = storedTensors(source);
  const trained = new Map(stored.map((each) => [each.tensor, each]));
  const products = source instanceof CompressedCheckpoint ? [...source.products.values()] : [];
  const ofProducts = products.map(({ name, factors, supports }) =>
    factors.flatMap((factor, index) => {
      const names = factorTensors(name, factor.name);
      return [names.values, names[supports[index]!.form]];
    }),
  );
  const inProducts = new Set(ofProducts.flat());
  const others = [...files.tensors.keys()].filter((name) => !inProducts.has(name));
  const groups = [...ofProducts, ...others.map((name) => [name])].map((names) => ({
    tensors: names.map((name) => ({ ...files.tensors.get(name)!, name })),
  }));
  const writer = new ShardedWriter(folder, groups, {
    metadata: (indices) => {
      const here = indices.flatMap((index) => products[index] ?? []);
      return { format: 'pt', ...(here.length === 0 ? {} : { [metadataKey]: describeProducts(here) }) };
    },
  });
  try {
    for (const { name } of groups.flatMap(({ tensors }) => tensors)) {
      const own = trained.get(name);
      if (own) writer.writeFloats(name, finite(name, wholeTensor(values, own)));
      else writer.writeBytes(name, files.file(name).readBytes(name));
    }
    commitModelFolder(writer, source, configOf(source, settings));
  } catch (error) {
    writer.abort();
    throw error;
  }
  verify(files, folder, values, trained);
}

/** The values of a stored tensor, zeros included. */
function wholeTensor(values: Float32Array, { offset, count, positions, size }: StoredValues): Float32Array {
  const own = values.subarray(offset, offset + count);
  if (!positions) return own;
  const whole = new Float32Array(size);
  for (let i = 0; i < count; i++) whole[positions[i] as number] = own[i] as number;
  return whole;
}

function finite(name: string, values: Float32Array): Float32Array {
  const index = firstNonFinite(values);
  if (index < 0) return values;
  throw new DoubleSparseError('non-finite-value', `${name} became ${values[index]}`, { data: { name, index } });
}

function configOf(source: Checkpoint, settings: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!(source instanceof CompressedCheckpoint)) return source.config;
  const before = source.config.quantization_config as Readonly<Record<string, unknown>>;
  return compressedConfig(source.config, { ...before, finetuning: settings });
}

function verify(
  files: SafetensorsCheckpoint,
  folder: string,
  values: Float32Array,
  trained: ReadonlyMap<string, StoredValues>,
): void {
  const written = openCheckpoint(folder);
  try {
    const stored = storedTensors(written);
    if (written instanceof CompressedCheckpoint) written.verify();
    for (const name of files.tensors.keys()) {
      const own = trained.get(name);
      if (own) checkValues(folder, name, stored.read(name).data, wholeTensor(values, own));
      else if (Buffer.compare(stored.file(name).readBytes(name), files.file(name).readBytes(name)) !== 0)
        throw failed(folder, name, 'differs from the source, but was not trained');
    }
  } catch (error) {
    // Without config.json nobody takes it for a model.
    rmSync(join(folder, 'config.json'), { force: true });
    throw error;
  } finally {
    written.close();
  }
}

/** Half a unit in the last place of bf16, the coarsest type that is written; fp16 is finer except near zero. */
const [roundoff, smallest] = [2 ** -8, 2 ** -25];

function checkValues(folder: string, name: string, read: Float32Array, expected: Float32Array): void {
  for (let i = 0; i < expected.length; i++) {
    const value = expected[i] as number;
    if (Math.abs((read[i] as number) - value) > roundoff * Math.abs(value) + smallest || (value === 0 && read[i] !== 0))
      throw failed(folder, name, `holds ${read[i]} at ${i} instead of ${value}`);
  }
}

function failed(folder: string, name: string, problem: string): DoubleSparseError {
  return new DoubleSparseError('verification-failed', `${folder}: ${name} ${problem}`, {
    data: { folder, name },
    hint: 'the disk may be damaged; the run folder still holds the last checkpoint: start the command again',
  });
}
