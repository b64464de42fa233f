import { z } from 'zod';
import { calibrationOptionsSchema } from '../calibration/options.js';
import { factorizationOptionsSchema } from '../compression/layers-options.js';

/** What may be trained: weights of linear layers (factors, sparse or dense matrices), RMSNorm weights, biases, embeddings with the head. */
export const trainedKinds = ['linear', 'norms', 'biases', 'embeddings'] as const;

const { seed, threads, engine } = factorizationOptionsSchema.shape;
const { textField, bos } = calibrationOptionsSchema.shape;

/** Options of a fine-tuning run. Flags of the command line are made from these. */
export const finetuneOptionsSchema = z.object({
  steps: z.int().min(1).max(10_000_000).default(300).describe('steps of the optimiser'),
  batch: z.int().min(1).max(65_536).default(8).describe('sequences of a step'),
  microBatch: z
    .int()
    .min(1)
    .default(4)
    .describe('sequences that one thread has in memory at a time; the rest of its share of a batch is accumulated'),
  seqLen: z.int().min(2).default(512).describe("tokens of a sequence, at most the model's context"),
  learningRate: z.number().positive().default(5e-4).describe('at its highest'),
  warmup: z.number().min(0).max(1).default(0.05).describe('part of the steps in which the learning rate rises'),
  finalRate: z.number().min(0).max(1).default(0.1).describe('part of the learning rate at the end of its cosine'),
  weightDecay: z.number().min(0).max(1).default(0).describe('of AdamW, for entries of matrices'),
  clip: z.number().positive().default(1).describe('largest norm of the gradient'),
  teacherWeight: z.number().min(0).max(1).default(0.5).describe('share of the divergence from the teacher in the loss'),
  train: z
    .array(z.enum(trainedKinds))
    .min(1)
    .default(['linear', 'norms', 'biases'])
    .describe(`what is trained, separated by commas: ${trainedKinds.join(', ')}`),
  keepZeros: z
    .boolean()
    .default(true)
    .describe('zeros stay in dense matrices of linear layers of which they are at least a tenth'),
  evaluateEvery: z.int().min(1).default(50).describe('steps between two looks at the validation text'),
  patience: z.int().min(1).default(5).describe('stop after so many of them without a better loss'),
  validationWindows: z
    .int()
    .min(1)
    .default(32)
    .describe('windows of the validation text; of an ONNX model images, 2000 unless given'),
  saveEvery: z.int().min(1).default(50).describe('steps between two checkpoints of the run'),
  seed: seed.describe('seed of the order of the text'),
  textField,
  bos,
  threads,
  engine,
  force: z.boolean().default(false).describe('replace a model in OUT, and start over a run with other options'),
});
export type FinetuneOptions = z.output<typeof finetuneOptionsSchema>;
