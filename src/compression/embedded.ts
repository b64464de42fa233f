import { fileURLToPath } from 'node:url';

const path = (name: string): string => fileURLToPath(new URL(`../../models/${name}`, import.meta.url));

/** What the package carries (models/README.md): a small model for demo and tests, and texts for calibration and evaluation. */
export const embedded = {
  model: path('sotu-m'),
  calibrationText: path('sotu-calib.txt'),
  evaluationText: path('sotu-test.txt'),
} as const;
