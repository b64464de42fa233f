import { z } from 'zod';
import { cnnMethodNames, cnnSharedOptionsSchema } from '../compression/cnn/options.js';
import { compressOptionsSchema } from '../compression/compress-options.js';

export const languageGroup = 'Options of language models:';
export const onnxGroup = 'Options of ONNX models:';

const { effort, seed, threads, engine, include, exclude, force, ...language } = compressOptionsSchema.shape;
const { seqLen, textField, bos, hiddenStatesMemory, fixedMask, blockSteps, samples, sequential } = language;
const { positions, allocate, cost, format, flip, shift, passes, ...onnx } = cnnSharedOptionsSchema.shape;

/** Flags that mean the same for every model. Where defaults differ there is none: the options of each kind have theirs. */
export const commonFlagsSchema = z.object({
  calibration: z
    .string()
    .min(1)
    .optional()
    .describe(
      'what to calibrate on: a text (.txt, .jsonl, .parquet; default: the embedded State of the Union addresses), or images of an ONNX model (folder, .npy array, IDX file)',
    ),
  samples: samples
    .unwrap()
    .optional()
    .describe(
      `calibration windows (default: ${samples.parse(undefined)}), or images of an ONNX model (default: ${onnx.samples.parse(undefined)})`,
    ),
  sequential: z
    .enum([...sequential.unwrap().options, ...onnx.sequential.unwrap().exclude(['dense']).options])
    .optional()
    .describe(
      'whose inputs count: those behind what is compressed already, gathered for a block at once (default), again after each group of its matrices, or for each layer of an ONNX model (its default); or those of the dense model, cheaper but worse',
    ),
  effort: effort
    .unwrap()
    .optional()
    .describe('how long double-sparse searches (default: default, search of ONNX models, which is for small layers)'),
  seed,
  threads,
  engine,
  include,
  exclude,
  force,
});

export const languageFlagsSchema = z.object({ seqLen, textField, bos, hiddenStatesMemory, fixedMask, blockSteps });

export const onnxFlagsSchema = z.object({ positions, allocate, cost, format, flip, shift, passes });

/** Of one run. */
export const methodFlag = z
  .enum(cnnMethodNames)
  .optional()
  .describe('how to compress (default: double-sparse, auto of ONNX models: for each layer the best of several)');

/** Random changes of the images that are trained on. */
export const augmentationFlagsSchema = z.object({
  flip: flip.describe('mirror every second image, by chance, left to right'),
  shift,
});
