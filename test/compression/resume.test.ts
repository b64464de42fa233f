import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { dsf, hashes, root, startDsf } from '../cli/run-dsf.js';
import { seededRandom } from '../helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-resume-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(root, 'models/sotu-m');
// Bytes are those of an engine: which one is the fastest may change between two runs on a busy machine.
const settings = ['--effort', 'fast', '--samples', '8', '--seq-len', '128', '--engine', chooseEngine().name];
/** As many hidden states in memory as there are workers. */
const spilled = ['--hidden-states-memory', '0'];
const compress = (out: string, ...more: string[]): string[] => ['compress', model, '--out', out, ...settings, ...more];

/** Starts a run and kills it when it has finished `products` more matrices, or after its end. */
function killAfter(products: number, out: string, ...more: string[]): Promise<'killed' | 'ended'> {
  return new Promise((resolve, reject) => {
    const child = startDsf(...compress(out, ...more));
    let said = '';
    let lines = 0;
    child.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
      lines += data
        .toString()
        .split('\n')
        .filter((line) => /^\[ *\d+\/\d+\]/.test(line)).length;
      if (lines >= products) child.kill('SIGKILL');
    });
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve('killed');
      else if (code === 0) resolve('ended');
      else reject(new Error(`exit code ${code}: ${said}`));
    });
  });
}

describe('an interrupted run', () => {
  it.each([
    ['block', []],
    ['group', []],
    ['block', spilled],
    ['dense', spilled],
  ])(
    'killed again and again ends with the bytes of an undisturbed one (--sequential %s %j)',
    async (sequential, more) => {
      const whole = join(folder, `whole-${sequential}`);
      if (!existsSync(whole)) expect(dsf(...compress(whole, '--sequential', sequential)).status).toBe(0);
      const broken = join(folder, `broken-${sequential}${more.length}`);
      const random = seededRandom(3);
      let kills = 0;
      const flags = ['--sequential', sequential, ...more];
      while ((await killAfter(1 + Math.floor(random() * 4), broken, ...flags)) === 'killed') {
        expect(existsSync(join(broken, 'config.json'))).toBe(false);
        kills++;
      }
      expect(kills).toBeGreaterThanOrEqual(5);
      expect(hashes(broken)).toEqual(hashes(whole));
      expect(existsSync(`${broken}.run`)).toBe(false);
    },
    300_000,
  );

  it('killed at any moment, writing and verifying included, ends with the same bytes', async () => {
    const whole = join(folder, 'whole-block');
    const broken = join(folder, 'any-moment');
    const random = seededRandom(11);
    let outcome = 'killed';
    // Each try gets a little further; the last ones fall into the end of the run.
    for (let attempt = 0; outcome === 'killed' && attempt < 12; attempt++) {
      // A run may go on with its hidden states in memory that had them in files, and the other way round.
      const child = startDsf(...compress(broken, ...(attempt % 2 === 0 ? spilled : [])));
      const timer = setTimeout(() => child.kill('SIGKILL'), 800 + 400 * attempt + 600 * random());
      const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve) =>
        child.on('exit', (code, signal) => resolve({ code, signal })),
      );
      clearTimeout(timer);
      outcome = signal === 'SIGKILL' ? 'killed' : `exit code ${code}`;
    }
    if (outcome === 'killed') expect(dsf(...compress(broken)).status).toBe(0);
    else expect(outcome).toBe('exit code 0');
    expect(hashes(broken)).toEqual(hashes(whole));
    expect(existsSync(`${broken}.run`)).toBe(false);
  }, 300_000);

  it('is not continued with other settings, and says which', async () => {
    const out = join(folder, 'other');
    await killAfter(1, out);
    const refused = dsf(...compress(out, '--sparsity', '0.6'));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/sparsity was 0\.5, now 0\.6/);
    expect(refused.stderr).toMatch(/--force/);
    expect(dsf(...compress(out, '--sparsity', '0.6', '--force')).status).toBe(0);
  }, 120_000);

  it('does not share its folder with a second run', async () => {
    const out = join(folder, 'shared');
    const first = startDsf(...compress(out));
    await new Promise<void>((resolve) =>
      first.stderr?.on('data', (data: Buffer) => /\[ *1\//.test(data.toString()) && resolve()),
    );
    const second = dsf(...compress(out));
    first.kill('SIGKILL');
    expect(second.status).toBe(1);
    expect(second.stderr).toMatch(/in use by process \d+/);
  }, 120_000);

  it('computes a damaged product again only when told so', async () => {
    const out = join(folder, 'damaged');
    await killAfter(3, out);
    const products = readdirSync(`${out}.run`).filter((name) => name.startsWith('model.layers.'));
    const victim = join(`${out}.run`, products[0] as string);
    writeFileSync(victim, readFileSync(victim).subarray(0, 1000));
    const refused = dsf(...compress(out));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(victim);
    rmSync(victim);
    expect(dsf(...compress(out)).status).toBe(0);
    expect(hashes(out)).toEqual(hashes(join(folder, 'whole-block')));
  }, 120_000);
});
