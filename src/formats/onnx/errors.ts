import { DoubleSparseError } from '../../errors.js';

export function malformed(path: string, problem: string, cause?: unknown): DoubleSparseError {
  return new DoubleSparseError('file-malformed', `${path}: ${problem}`, {
    data: { path },
    hint: 'the file is damaged or no ONNX model; export or download it again',
    cause,
  });
}

export function unsupported(path: string, problem: string, hint: string): DoubleSparseError {
  return new DoubleSparseError('file-unsupported', `${path}: ${problem}`, { data: { path }, hint });
}
