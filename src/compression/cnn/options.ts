import { z } from 'zod';
import { augmentationSchema } from '../../calibration/images/options.js';
import { methodNames } from '../../factorization/registry.js';
import { compressOptionsSchema } from '../compress-options.js';

/** `auto`: for each layer whichever of double-sparse, obc and admm has the least error at the same nonzeros. */
export const cnnMethodNames = ['auto', ...methodNames] as const;
export type CnnMethodName = (typeof cnnMethodNames)[number];

const { sparsity, effort, seed, threads, engine, include, exclude, force } = compressOptionsSchema.shape;

/** Options of the compression of an ONNX model that do not say by which method, and how far. */
export const cnnSharedOptionsSchema = z.object({
  effort: effort.unwrap().default('search'),
  seed,
  threads,
  engine,
  include,
  exclude,
  force,
  samples: z.int().min(1).max(1_000_000).default(1024).describe('calibration images'),
  positions: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(256)
    .describe('positions of one image at which the inputs of a convolution are taken, drawn at random'),
  sequential: z
    .enum(['layer', 'dense'])
    .default('layer')
    .describe('inputs of a layer behind what is compressed already, or those of the dense model, cheaper but worse'),
  allocate: z
    .enum(['errors', 'uniform'])
    .default('errors')
    .describe('budgets of layers by what they cost the outputs, or the same sparsity for all'),
  cost: z
    .enum(['nonzeros', 'multiply-adds'])
    .default('nonzeros')
    .describe('of what the sparsity leaves a part, in all layers together'),
  format: z
    .enum(['packed', 'plain'])
    .default('packed')
    .describe('store nonzeros and a bitmask that standard operators unpack at loading, or zeros and all'),
  ...augmentationSchema.shape,
});

export const cnnCompressOptionsSchema = cnnSharedOptionsSchema.extend({
  sparsity,
  method: z.enum(cnnMethodNames).default('auto').describe('how to compress each layer'),
});
export type CnnCompressOptions = z.output<typeof cnnCompressOptionsSchema>;
