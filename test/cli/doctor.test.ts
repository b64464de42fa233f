import { readFileSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';
import { findNativeLibrary } from '../../src/linalg/engines/native.js';
import { dsf } from './run-dsf.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('doctor tells what the machine has', { timeout: 60_000 }, () => {
  const { status, stdout } = dsf('doctor', '--json');
  expect(status).toBe(0);
  const { engines } = JSON.parse(stdout) as { engines: { name: string; available: boolean; chosen: boolean }[] };
  expect(engines.filter(({ chosen }) => chosen)).toHaveLength(1);
  expect(engines.find(({ name }) => name === 'wasm')?.available).toBe(true);
});

const hasAvx2 =
  process.platform === 'linux' && process.arch === 'x64' && /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));

test.skipIf(!hasAvx2 || !findNativeLibrary()?.library.coreName)(
  'an environment that holds OpenBLAS back is obeyed and told',
  { timeout: 60_000 },
  () => {
    vi.stubEnv('OPENBLAS_CORETYPE', 'Nehalem');
    const { stdout } = dsf('doctor');
    expect(stdout).toMatch(/^\W+native .*Nehalem kernels/m);
    expect(stdout).toMatch(
      /asks for OPENBLAS_CORETYPE=Nehalem; kernels of (Haswell|SkylakeX) suit this processor better/,
    );
  },
);
