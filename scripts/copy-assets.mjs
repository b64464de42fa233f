// tsc leaves everything that is not TypeScript behind: compiled kernels and plain scripts belong beside their loaders.
import { copyFileSync } from 'node:fs';

for (const file of [
  'linalg/kernels.wasm',
  'linalg/engines/native-trial.mjs',
  'runtime/kernels.wasm',
  'runtime/kernels-relaxed.wasm',
])
  copyFileSync(`src/${file}`, `dist/${file}`);
