import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { expect, it, vi } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { engineNames } from '../../src/linalg/engine.js';
import { chooseEngine, createChosenEngine, createEngine, reportEngines } from '../../src/linalg/engines/select.js';

it('auto is one of those here, never the reference, and stays the same', () => {
  const choice = chooseEngine('auto');
  expect(choice.name).not.toBe('reference');
  expect(chooseEngine()).toBe(choice);
  expect(createEngine().name).toBe(choice.name);
});

it('auto stays the same where others take the cores', async () => {
  const quiet = chooseEngine('auto').name;
  const others: ChildProcess[] = Array.from({ length: 2 * availableParallelism() }, () =>
    spawn(process.execPath, ['--eval', 'console.log(); for (;;);'], { stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  try {
    await Promise.all(others.map((other) => new Promise((resolve) => other.stdout?.once('data', resolve))));
    for (let i = 0; i < 3; i++) {
      vi.resetModules();
      const afresh = await import('../../src/linalg/engines/select.js');
      expect(afresh.chooseEngine('auto').name).toBe(quiet);
    }
  } finally {
    for (const other of others) other.kill();
    vi.resetModules();
  }
});

it('a choice survives JSON and builds the same engine', () => {
  for (const choice of [chooseEngine(), chooseEngine('reference')]) {
    const engine = createChosenEngine(JSON.parse(JSON.stringify(choice)));
    expect(engine.description).toBe(createEngine(choice.name).description);
  }
});

it('an unknown name is refused with the known ones', () => {
  const choose = () => chooseEngine('cuda' as 'native');
  expect(choose).toThrowError(DoubleSparseError);
  expect(choose).toThrowError(expect.objectContaining({ code: 'unknown-name', hint: expect.stringContaining('wasm') }));
});

it('an absent engine is refused with the reason, each time, and passed over by auto', async () => {
  vi.stubEnv('DSF_BLAS', '/nowhere/libopenblas.so');
  vi.resetModules();
  try {
    const afresh = await import('../../src/linalg/engines/select.js');
    const unavailable = { code: 'engine-unavailable', message: expect.stringContaining('/nowhere/libopenblas.so') };
    for (let i = 0; i < 2; i++) {
      expect(() => afresh.chooseEngine('native')).toThrowError(expect.objectContaining(unavailable));
    }
    expect(['onnxruntime', 'wasm']).toContain(afresh.chooseEngine('auto').name);
    expect(afresh.engineFailures().get('native')).toMatchObject(unavailable);
    const report = afresh.reportEngines('native');
    expect(report.filter(({ chosen }) => chosen)).toEqual([]);
    const native = report.find(({ name }) => name === 'native');
    expect(native).toMatchObject({ available: false, reason: unavailable.message });
    // A path is tried as OpenBLAS, with the prefix of Python's wheel, and as any other BLAS.
    expect(native?.native?.passedOver).toHaveLength(3);
    for (const { file, reason } of native?.native?.passedOver ?? []) {
      expect(file).toMatch(/^\/nowhere\/libopenblas\.so \((scipy_)?cblas_sgemm\)$/);
      expect(reason).toMatch(/cannot open shared object file|Failed to load/);
    }
  } finally {
    vi.unstubAllEnvs();
    vi.resetModules();
  }
});

it('the report names every engine, its speed or the reason why not, and the chosen one', () => {
  const report = reportEngines();
  expect(report.map(({ name }) => name)).toEqual(engineNames);
  expect(report.filter(({ chosen }) => chosen).map(({ name }) => name)).toEqual([chooseEngine().name]);
  for (const { available, description, reason, speed } of report) {
    if (available) expect(speed?.oneThread).toBeGreaterThan(0);
    if (available) expect(speed?.allThreads).toBeGreaterThan(0);
    expect(available ? description : reason).toMatch(/./);
  }
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
});
