import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Comparison } from '../../src/comparison/comparison.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { dsf, hashes, type Outcome, root, startDsf } from './run-dsf.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-compare-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(root, 'models/sotu-m');
const engine = chooseEngine().name;
const methods = ['--methods', 'double-sparse,wanda,magnitude'];
const few = [
  '--effort',
  'fast',
  '--samples',
  '8',
  '--seq-len',
  '128',
  '--include',
  '*layers.0.*,*layers.2.*',
  '--engine',
  engine,
];
const small = ['--effort', 'fast', '--samples', '8', '--seq-len', '128', '--windows', '8'];

describe('dsf compare', () => {
  it('puts methods, sparsities, the dense model and a smaller one side by side', { timeout: 300_000 }, () => {
    const keep = join(folder, 'kept');
    const two = ['--methods', 'double-sparse,magnitude', '--sparsities', '0.5,0.9', '--include', '*mlp*'];
    const { status, stdout } = dsf('compare', model, ...two, ...small, '--against', model, '--keep', keep, '--json');
    expect(status).toBe(0);
    const { dense, against, rows } = JSON.parse(stdout) as Comparison;
    expect(against).toEqual(dense);
    expect(rows.map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual([
      'double-sparse 0.5',
      'magnitude 0.5',
      'double-sparse 0.9',
      'magnitude 0.9',
    ]);
    for (const { perplexity, linearBytes, nonzeros } of rows) {
      expect(perplexity).toBeGreaterThan(1);
      // The attention's weights stay dense and are counted.
      expect(nonzeros).toBeGreaterThan(0.25 * dense.linearWeights);
      expect(linearBytes).toBeLessThan(dense.linearBytes);
    }
    expect(rows[2]?.perplexity).toBeLessThan(rows[3]?.perplexity ?? 0);
    expect(existsSync(join(keep, 'magnitude-0.9', 'config.json'))).toBe(true);
  });

  it.each(['block', 'group', 'dense'])(
    'makes the models and numbers of separate runs (--sequential %s)',
    (sequential) => {
      const keep = join(folder, `as-separate-${sequential}`);
      const settings = [...few, '--sequential', sequential];
      const { stdout } = dsf('compare', model, ...methods, ...settings, '--windows', '8', '--keep', keep, '--json');
      const { rows, dense } = JSON.parse(stdout) as Comparison;
      const text = ['--text', join(root, 'models/sotu-test.txt'), '--seq-len', '128', '--windows', '8', '--json'];
      const evaluate = (path: string): unknown => JSON.parse(dsf('eval', path, ...text, '--engine', engine).stdout);
      expect(evaluate(model)).toMatchObject({ perplexity: dense.perplexity });
      for (const { method, sparsity, perplexity } of rows) {
        const out = join(folder, `separate-${sequential}-${method}-${sparsity}`);
        const own = ['--method', method, '--sparsity', String(sparsity)];
        expect(dsf('compress', model, '--out', out, ...settings, ...own).status).toBe(0);
        expect(hashes(join(keep, `${method}-${sparsity}`))).toEqual(hashes(out));
        expect(evaluate(out)).toMatchObject({ perplexity });
      }
    },
    300_000,
  );

  it('does not compute finished rows again, unless told so', { timeout: 300_000 }, () => {
    const keep = join(folder, 'again');
    const compare = (...more: string[]): Outcome =>
      dsf('compare', model, ...methods, ...few, '--windows', '8', '--keep', keep, '--json', ...more);
    const first = compare();
    expect(compare()).toMatchObject({ stdout: first.stdout, stderr: expect.stringContaining('3 of 3 rows') });
    rmSync(join(keep, 'wanda-0.5'), { recursive: true });
    expect(compare().stderr).toContain('2 of 3 rows');
    expect(existsSync(join(keep, 'wanda-0.5', 'config.json'))).toBe(true);

    const refused = compare('--samples', '7');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/double-sparse-0\.5\.json is a result of other settings: calibration was .*, now /);
    expect(compare('--windows', '7').stderr).toMatch(/evaluation was .*, now /);
    const anew = compare('--windows', '7', '--force');
    expect(anew).toMatchObject({ status: 0, stderr: expect.not.stringContaining('rows are in') });
    const perplexities = ({ stdout }: Outcome): number[] =>
      (JSON.parse(stdout) as Comparison).rows.map(({ perplexity }) => perplexity);
    expect(perplexities(anew)).not.toEqual(perplexities(first));
    // Complete and forced: computed once more.
    expect(compare('--windows', '7', '--force').stderr).not.toContain('rows are in');

    writeFileSync(join(keep, 'wanda-0.5.json'), '{"fingerprint": {}}');
    expect(compare('--windows', '7').stderr).toMatch(/wanda-0\.5\.json is no result/);
    writeFileSync(join(keep, 'wanda-0.5.json'), '[');
    expect(compare('--windows', '7')).toMatchObject({ status: 1, stderr: expect.stringContaining('wanda-0.5.json') });
  });

  it.each(['block', 'dense'])(
    'killed again and again ends with the rows of an undisturbed one (--sequential %s)',
    async (sequential) => {
      const args = (keep: string): string[] => {
        const settings = [...few, '--windows', '8', '--sequential', sequential];
        return ['compare', model, ...methods, ...settings, '--keep', join(folder, keep), '--json'];
      };
      const whole = dsf(...args(`whole-${sequential}`));
      const broken = `broken-${sequential}`;
      // Folders of runs go while their files are listed.
      const files = (): number => {
        try {
          const names = readdirSync(join(folder, broken), { recursive: true }) as string[];
          return names.filter((name) => /(\.run.*_proj\.safetensors|\d\.json)$/.test(name)).length;
        } catch {
          return 0;
        }
      };
      for (let kill = 0; kill < 4; kill++) {
        const before = files();
        const child = startDsf(...args(broken));
        const ended = new Promise((resolve) => child.on('exit', resolve));
        // Products and rows come, and products go when their row is there.
        while (child.exitCode === null && Math.abs(files() - before) < 3)
          await new Promise((resolve) => setTimeout(resolve, 10));
        child.kill('SIGKILL');
        await ended;
      }
      const last = dsf(...args(broken));
      expect(last.status).toBe(0);
      const numbers = ({ stdout }: Outcome): unknown[] =>
        (JSON.parse(stdout) as Comparison).rows.map(
          ({ seconds: _seconds, factorizationSeconds: _factorization, resumed: _resumed, ...rest }) => rest,
        );
      expect(numbers(last)).toEqual(numbers(whole));
      for (const name of ['double-sparse-0.5', 'wanda-0.5', 'magnitude-0.5'])
        expect(hashes(join(folder, broken, name))).toEqual(hashes(join(folder, `whole-${sequential}`, name)));
      expect(readdirSync(join(folder, broken)).filter((name) => name.endsWith('.run'))).toEqual([]);
    },
    300_000,
  );

  it('fine-tunes all models alike, goes on with it, and adds it to rows that are there', {
    timeout: 300_000,
  }, async () => {
    const keep = join(folder, 'tuned');
    const args = (...more: string[]): string[] => {
      const settings = [...few, '--windows', '8', '--methods', 'double-sparse,magnitude', '--sparsities', '0.9'];
      return ['compare', model, ...settings, '--keep', keep, '--json', ...more];
    };
    const finetune = ['--finetune', '60', '--finetune-batch', '2', '--finetune-rate', '1e-3'];
    const before = JSON.parse(dsf(...args()).stdout) as Comparison;
    expect(before.dense.tuned).toBeUndefined();
    // Killed in the middle of the second fine-tuning.
    const child = startDsf(...args(...finetune));
    const ended = new Promise((resolve) => child.on('exit', resolve));
    while (child.exitCode === null && !existsSync(join(keep, 'double-sparse-0.9-tuned.run/state.safetensors')))
      await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(join(keep, 'dense-tuned.json'))).toBe(true);
    const broken = dsf(...args(...finetune));
    expect(broken.stderr).toMatch(/2 of 2 rows are in/);
    expect(broken.stderr).toMatch(/fine-tuning of double-sparse-0.9 goes on behind step 50/);
    const { dense, rows } = JSON.parse(broken.stdout) as Comparison;
    expect(rows.map(({ tuned: _, ...row }) => row)).toEqual(before.rows);
    // So few tokens at so high a rate help only what was nearly lost.
    const lost = rows.find(({ method }) => method === 'magnitude');
    expect(lost?.tuned?.perplexity).toBeLessThan(lost?.perplexity ?? 0);
    for (const { tuned } of rows) expect(tuned?.perplexity).toBeGreaterThan(1);
    expect(dense.tuned?.perplexity).toBeGreaterThan(1);
    // As by hand.
    const out = join(folder, 'by-hand');
    const text = join(root, 'models/sotu-calib.txt');
    const own = ['--steps', '60', '--batch', '2', '--learning-rate', '1e-3', '--seq-len', '128', '--engine', engine];
    expect(dsf('finetune', join(keep, 'double-sparse-0.9'), '--data', text, '--out', out, ...own).status).toBe(0);
    const weights = (path: string): unknown => hashes(path)['model.safetensors'];
    expect(weights(join(keep, 'double-sparse-0.9-tuned'))).toEqual(weights(out));
    expect(dsf(...args(...finetune)).stdout).toBe(broken.stdout);
    expect(dsf(...args('--finetune', '61', '--finetune-batch', '2')).stderr).toMatch(
      /-tuned\.json is a result of other settings: finetuning was/,
    );
  });

  it('refuses what cannot all be run before it runs anything', () => {
    const refused = dsf('compare', model, '--methods', 'double-sparse,admm', '--fixed-mask', ...small);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringMatching(/fixed mask belongs to double-sparse/) });
    expect(dsf('compare', model, '--sparsities', '0.5,', ...small).status).toBe(2);
  });
});
