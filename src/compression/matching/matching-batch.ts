import type { TokenWindows } from '../../calibration/windows.js';

/** Tokens of a step, about: enough that products of factors do not outweigh those with the tokens. */
const stepTokens = 2048;

/** Calibration windows of a step. */
export const matchingBatch = ({ seqLen }: TokenWindows): number => Math.max(1, Math.round(stepTokens / seqLen));
