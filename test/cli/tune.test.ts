import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { embedded, writePrunedModel } from '../runtime/pruned-model.js';
import { dsf, root } from './run-dsf.js';

const model = writePrunedModel(join(temporaryFolder(), 'pruned'));

describe('dsf tune', () => {
  test('keeps a plan that inspect shows', () => {
    expect(JSON.parse(dsf('inspect', model, '--json').stdout)).not.toHaveProperty('tuning');
    const { status, stdout, stderr } = dsf('tune', model, '--json');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('double-sparse-tune.json');
    const { plan } = JSON.parse(stdout) as { plan: Record<string, string> };
    const { tuning } = JSON.parse(dsf('inspect', model, '--json').stdout);
    const counts = Object.values(tuning.plan as Record<string, number>);
    expect(counts.reduce((sum, products) => sum + products)).toBe(Object.keys(plan).length);
    expect(dsf('inspect', model).stdout).toContain('tuned for this machine');
    expect(dsf('tune', model, '--memory', '6000000').stdout).toMatch(/representation +products/);
  });

  test('of a dense model is refused with a hint', () => {
    const { status, stderr } = dsf('tune', embedded);
    expect(status).toBe(1);
    expect(stderr).toContain('dsf compress');
  });
});

test('dsf eval --runtime sparse agrees with the ordinary one', () => {
  const flags = ['--text', join(root, 'models/sotu-test.txt'), '--windows', '4', '--seq-len', '128', '--json'];
  const [dense, sparse] = [[], ['--runtime', 'sparse']].map((extra) => {
    const { status, stdout, stderr } = dsf('eval', model, ...flags, ...extra);
    expect(status, stderr).toBe(0);
    return JSON.parse(stdout) as { perplexity: number; tokens: number; runtime: string };
  });
  expect(sparse).toMatchObject({ runtime: 'sparse', tokens: dense!.tokens });
  expect(Math.abs(sparse!.perplexity / dense!.perplexity - 1)).toBeLessThan(1e-3);
});
