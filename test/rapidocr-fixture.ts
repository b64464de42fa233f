import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Fixture, fromWheel } from './wheel.js';

export const rapidocrModels = {
  detection: 'ch_PP-OCRv4_det_infer.onnx',
  recognition: 'ch_PP-OCRv4_rec_infer.onnx',
  orientation: 'ch_ppocr_mobile_v2.0_cls_infer.onnx',
} as const;

/**
 * The folder of three real convolutional networks (text detection, recognition, orientation; Apache-2.0):
 * DSF_RAPIDOCR_MODELS, else out of a Python package of 15 MB (see {@link fromWheel}).
 */
export function rapidocrFolder(): Fixture {
  const explicit = process.env.DSF_RAPIDOCR_MODELS;
  if (explicit)
    return isWhole(explicit) ? { path: explicit } : { reason: `DSF_RAPIDOCR_MODELS: no models in ${explicit}` };
  return fromWheel({
    requirement: 'rapidocr-onnxruntime==1.4.4',
    part: ['rapidocr_onnxruntime', 'models'],
    name: 'rapidocr-1.4.4',
    isWhole,
    holds: 'the models',
  });
}

function isWhole(folder: string): boolean {
  return Object.values(rapidocrModels).every((name) => existsSync(join(folder, name)));
}
