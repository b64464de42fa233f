import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { CompressedCheckpoint } from '../../src/formats/container/checkpoint.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { dsf, hashes, root, startDsf } from '../cli/run-dsf.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-block-steps-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(root, 'models/sotu-m');
const settings = [
  ...['--sparsity', '0.8', '--effort', 'fast', '--samples', '12', '--seq-len', '128', '--engine', chooseEngine().name],
  // One block whole, one in part, the others dense.
  ...['--include', '*layers.1.*,*layers.2.*mlp.*'],
];
const steps = ['--block-steps', '6'];
const compress = (out: string, ...more: string[]): string[] => ['compress', model, '--out', out, ...settings, ...more];

/** Counts of all factors, and hashes of the bitmasks of block 1: behind it the inputs are others. */
function supportsOf(path: string): unknown {
  const checkpoint = new CompressedCheckpoint(path);
  const all = [...checkpoint.products].map(([name, { counts }]) => {
    const hash = createHash('sha256');
    for (const { bitmask } of name.includes('layers.1.') ? checkpoint.readProduct(name) : []) hash.update(bitmask);
    return [name, counts, hash.digest('hex')];
  });
  checkpoint.close();
  return all;
}

it('brings the parts of a block closer to the dense ones, supports as they are', { timeout: 120_000 }, () => {
  const [plain, matched] = [join(folder, 'plain'), join(folder, 'matched')];
  expect(dsf(...compress(plain)).status).toBe(0);
  const { status, stderr } = dsf(...compress(matched, ...steps));
  expect(status).toBe(0);
  const errors = String.raw`([\d.e-]+) -> ([\d.e-]+)`;
  const line = new RegExp(String.raw`(attention|mlp) ${errors}, its own ${errors} \(step (\d+) of (?:12|24)\)`, 'g');
  const gains = [...stderr.matchAll(line)];
  expect(gains.map(([, part]) => part)).toEqual(['attention', 'mlp', 'mlp']);
  for (const [, , before, after, ownBefore, ownAfter] of gains) {
    expect(Number(after)).toBeLessThan(0.97 * Number(before));
    expect(Number(ownAfter)).toBeLessThan(0.99 * Number(ownBefore));
  }
  expect(supportsOf(matched)).toEqual(supportsOf(plain));
  expect(hashes(matched)).not.toEqual(hashes(plain));
});

it('killed again and again ends with the bytes of an undisturbed run', { timeout: 300_000 }, async () => {
  const broken = join(folder, 'broken');
  const marks = (): number =>
    existsSync(`${broken}.run`) ? readdirSync(`${broken}.run`).filter((name) => /matched/.test(name)).length : 0;
  let kills = 0;
  for (let ended = false; !ended; ) {
    const before = marks();
    const child = startDsf(...compress(broken, ...steps));
    const exit = new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    // In the middle of the files of a block too: seven files and its mark.
    const timer = setInterval(() => marks() >= before + 3 && child.kill('SIGKILL'), 1);
    ended = (await exit) === null;
    clearInterval(timer);
    if (!ended) kills++;
  }
  expect(kills).toBeGreaterThanOrEqual(2);
  expect(hashes(broken)).toEqual(hashes(join(folder, 'matched')));
  expect(existsSync(`${broken}.run`)).toBe(false);
});

it('is refused where it cannot be, and belongs to the settings of a run', { timeout: 60_000 }, () => {
  const refused = (...more: string[]) => dsf(...compress(join(folder, 'refused'), ...steps, ...more, '--dry-run'));
  expect(refused('--sequential', 'dense')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/sequential dense/),
  });
  expect(refused('--hidden-states-memory', '1')).toMatchObject({ status: 2, stderr: expect.stringMatching(/2 MiB/) });
  expect(refused('--samples', '1')).toMatchObject({ status: 2, stderr: expect.stringMatching(/two calibration/) });
});
