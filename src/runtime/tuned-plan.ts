import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { DoubleSparseError } from '../errors.js';
import { writeFileAtomically } from '../formats/atomic-file.js';
import type { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { type JsonLimits, readJsonObject } from '../formats/json-file.js';
import { type KernelBuild, kernelBuilds } from './kernels.js';
import { productSizes } from './product-sizes.js';
import { representations } from './representation.js';

const fileName = 'double-sparse-tune.json';
/** A product's name takes some hundred bytes; the largest models have some hundred of them. */
const limits: JsonLimits = { bytes: 4e6, depth: 4, values: 200_000 };

const schema = z.strictObject({
  version: z.literal(1),
  processor: z.string().max(1000),
  kernels: z.enum(kernelBuilds),
  /** Of the products' names and sizes, see {@link modelFingerprint}. */
  model: z.string().regex(/^[0-9a-f]{64}$/),
  /** Bytes that were allowed; null for the default. */
  memory: z.number().nonnegative().nullable(),
  costs: z.strictObject({
    maskByte: z.number().nonnegative(),
    maskedValue: z.number().nonnegative(),
    indexedValue: z.number().nonnegative(),
    denseValue: z.number().nonnegative(),
  }),
  plan: z.record(z.string(), z.enum(representations)),
});

/** A representation for each product with what it was measured for. */
export type TunedPlan = z.output<typeof schema>;

/** Where the plan of a model lies: beside it. */
export function tunedPlanPath({ path }: CompressedCheckpoint): string {
  return join(path, fileName);
}

/** What a plan is for: this processor, this model's sizes, a build of the kernels. */
export function tuningKey(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
): Pick<TunedPlan, 'processor' | 'kernels' | 'model'> {
  const processor = `${cpus()[0]?.model ?? 'unknown'} (${process.arch})`;
  return { processor, kernels, model: modelFingerprint(checkpoint) };
}

/** @throws DoubleSparseError `file-unwritable`, `disk-full` */
export function writeTunedPlan(checkpoint: CompressedCheckpoint, tuned: TunedPlan): void {
  writeFileAtomically(tunedPlanPath(checkpoint), `${JSON.stringify(tuned, undefined, 1)}\n`);
}

/** A plan that was measured for what runs now; why there is none for it; or undefined if there is no file. */
export function readTunedPlan(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
): { tuned: TunedPlan } | { ignored: string } | undefined {
  const path = tunedPlanPath(checkpoint);
  if (!existsSync(path)) return undefined;
  const ignored = (reason: string) => ({ ignored: `${path} is ignored: ${reason}; dsf tune measures again` });
  let value: unknown;
  try {
    value = readJsonObject(path, limits);
  } catch (error) {
    if (error instanceof DoubleSparseError) return ignored(error.message);
    throw error;
  }
  const { success, data, error } = schema.safeParse(value);
  if (!success) return ignored(`it is damaged (${z.prettifyError(error)})`);
  const key = tuningKey(checkpoint, kernels);
  if (data.processor !== key.processor)
    return ignored(`it was measured on ${data.processor}, this is ${key.processor}`);
  if (data.kernels !== kernels) return ignored(`it was measured with ${data.kernels} kernels, these are ${kernels}`);
  const named = Object.keys(data.plan).length === checkpoint.products.size;
  if (data.model !== key.model || !named || !Object.keys(data.plan).every((name) => checkpoint.products.has(name)))
    return ignored('it was measured for another model');
  return { tuned: data };
}

function modelFingerprint(checkpoint: CompressedCheckpoint): string {
  return createHash('sha256')
    .update(JSON.stringify(productSizes(checkpoint)))
    .digest('hex');
}
