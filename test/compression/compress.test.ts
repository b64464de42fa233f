import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../../src/formats/safetensors/reader.js';
import { dsf, type Outcome, root } from '../cli/run-dsf.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-compress-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(root, 'models/sotu-m');
const text = join(root, 'models/sotu-test.txt');
const small = ['--effort', 'fast', '--samples', '8', '--seq-len', '128'];
const compress = (path: string, out: string, ...more: string[]): Outcome =>
  dsf('compress', path, '--out', out, ...small, ...more);

interface Report {
  nonzeros: number;
  budget: number;
  linearBytes: number;
  denseLinearBytes: number;
  kept: { name: string; reason: string }[];
  layers: { name: string; relativeError: number }[];
}

/** A copy of the embedded model that a test may spoil. */
function spoiled(name: string, change: (path: string) => void): string {
  const path = join(folder, name);
  cpSync(model, path, { recursive: true });
  change(path);
  return path;
}

describe('dsf compress on the embedded model', () => {
  const out = join(folder, 'half');
  let report: Report;
  beforeAll(() => {
    const { status, stdout, stderr } = compress(model, out, '--json');
    expect(stderr).toContain('verified');
    expect(status).toBe(0);
    report = JSON.parse(stdout) as Report;
  }, 120_000);

  it('keeps exactly the budget, compresses all linear layers and tells why it keeps the rest', () => {
    expect(report.nonzeros).toBe(report.budget);
    expect(report.layers).toHaveLength(42);
    expect(report.linearBytes / report.denseLinearBytes).toBeLessThan(0.63);
    expect(report.kept.map(({ reason }) => reason)).toContain('embeddings, tied to the head');
  });

  it('hardly changes the perplexity', () => {
    const perplexityOf = (path: string): number => {
      const { stdout } = dsf('eval', path, '--text', text, '--seq-len', '128', '--windows', '32', '--json');
      return (JSON.parse(stdout) as { perplexity: number }).perplexity;
    };
    expect(perplexityOf(out) / perplexityOf(model)).toBeLessThan(1.02);
  }, 60_000);

  it('is refused by what does not know the format, and inspected by what does', () => {
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as {
      quantization_config: { quant_method: string };
    };
    expect(config.quantization_config.quant_method).toBe('double-sparse');
    const inspection = JSON.parse(dsf('inspect', out, '--json').stdout) as { compressed: { nonzeros: number } };
    expect(inspection.compressed.nonzeros).toBe(report.nonzeros);
    expect(dsf('inspect', out, '--verify').stderr).toContain('every support and value is sound');
    const weights = readFileSync(join(out, 'model.safetensors'));
    const damaged = join(folder, 'damaged');
    cpSync(out, damaged, { recursive: true });
    // The last bytes of the file are supports.
    weights.fill(0xff, weights.length - 64);
    writeFileSync(join(damaged, 'model.safetensors'), weights);
    expect(dsf('inspect', damaged, '--verify')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('damaged'),
    });
  });

  it('does not overwrite a model unless told to', () => {
    expect(compress(model, out)).toMatchObject({ status: 1, stderr: expect.stringMatching(/already holds a model/) });
  });

  it('tells what it would do', () => {
    const { status, stdout } = compress(model, join(folder, 'dry'), '--dry-run', '--exclude', '*mlp*');
    expect(status).toBe(0);
    expect(stdout).toContain('model.layers.5.self_attn.qkv_proj');
    expect(stdout).toMatch(/layers\.0\.mlp\.up_proj\.weight +kept +not included/);
    // 8 x 128 x 256 x 4 bytes
    expect(stdout).toMatch(/hidden states: 1\.0 MB, in memory/);
    const spilled = compress(model, join(folder, 'dry'), '--dry-run', '--hidden-states-memory', '0.5');
    expect(spilled.stdout).toMatch(/hidden states: 1\.0 MB, more than --hidden-states-memory: in files .* 2\.1 MB/);
  });

  it.each(['admm', 'magnitude', 'low-rank', 'double-sparse-fixed-mask'])(
    'takes %s too',
    (method) => {
      const { status, stdout } = compress(
        model,
        join(folder, method),
        '--method',
        method,
        '--include',
        '*layers.0.*',
        '--json',
      );
      expect(status).toBe(0);
      const { nonzeros, budget } = JSON.parse(stdout) as Report;
      expect(nonzeros).toBeLessThanOrEqual(budget);
    },
    60_000,
  );

  it('says when the result is larger than dense, and when it has lost the model', () => {
    const some = ['--method', 'magnitude', '--include', '*layers.0.*', '--force'];
    const whole = compress(model, join(folder, 'lost'), ...some, '--sparsity', '0');
    expect(whole.stdout).toContain('not smaller than dense');
    const lost = compress(model, join(folder, 'lost'), ...some, '--sparsity', '0.99');
    expect(lost.stdout).toMatch(/MUCH IS LOST: .* model\.layers\.0\./);
    const empty = compress(model, join(folder, 'lost'), ...some, '--sparsity', '0.9999999');
    expect(empty.stdout).toMatch(/WITHOUT A NONZERO: 7 matrices, the first model\.layers\.0\./);
    expect([whole.status, lost.status, empty.status]).toEqual([0, 0, 0]);
  }, 60_000);

  it('says that it is evaluated on its calibration text, before the run', () => {
    const some = ['--calibration', text, '--evaluate', text, '--samples', '100', '--windows', '1000', '--dry-run'];
    const { status, stderr } = compress(model, join(folder, 'dry'), ...some);
    expect(stderr).toMatch(/% of the evaluation text is also in the calibration text/);
    expect(status).toBe(0);
  });

  it('takes the inputs of the dense model with --sequential dense', () => {
    const [all, alone] = [join(folder, 'dense-inputs'), join(folder, 'alone')];
    expect(compress(model, all, '--sequential', 'dense', '--include', '*layers.0.*,*layers.3.*').status).toBe(0);
    // Nothing before block 3 is compressed here.
    expect(compress(model, alone, '--include', '*layers.3.*').status).toBe(0);
    const [one, other] = [all, alone].map((path) => new SafetensorsFile(join(path, 'model.safetensors')));
    const names = [...(other?.header.tensors.keys() ?? [])].filter((name) => name.startsWith('model.layers.3.'));
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) expect(one?.readBytes(name)).toEqual(other?.readBytes(name));
    one?.close();
    other?.close();
  }, 60_000);

  it('exports a dense model of the same perplexity', () => {
    const dense = join(folder, 'dense');
    expect(dsf('export', out, '--to', 'dense', '--out', dense).status).toBe(0);
    const perplexityOf = (path: string): number =>
      (
        JSON.parse(dsf('eval', path, '--text', text, '--seq-len', '128', '--windows', '16', '--json').stdout) as {
          perplexity: number;
        }
      ).perplexity;
    // The product is rounded to bf16 once more.
    expect(Math.abs(perplexityOf(dense) / perplexityOf(out) - 1)).toBeLessThan(1e-3);
  }, 60_000);
});

describe('dsf compress refuses', () => {
  const cases: [string, number, RegExp, () => Outcome][] = [
    ['a missing model', 1, /no file or folder/, () => compress(join(folder, 'nowhere'), join(folder, 'x'))],
    [
      'an unknown architecture',
      1,
      /MambaForCausalLM/,
      () =>
        compress(
          spoiled('mamba', (path) => {
            const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
            writeFileSync(
              join(path, 'config.json'),
              JSON.stringify({ ...config, architectures: ['MambaForCausalLM'] }),
            );
          }),
          join(folder, 'x'),
        ),
    ],
    [
      'another vocabulary than the weights have',
      1,
      /vocabulary of 5000/,
      () =>
        compress(
          spoiled('vocabulary', (path) => {
            const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
            writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, vocab_size: 5000 }));
          }),
          join(folder, 'x'),
        ),
    ],
    [
      'truncated weights',
      1,
      /truncated/,
      () =>
        compress(
          spoiled('short', (path) => truncateSync(join(path, 'model.safetensors'), 5_000_000)),
          join(folder, 'x'),
        ),
    ],
    [
      'NaN in a weight, by name',
      1,
      /model\.layers\.\d+\.\S+ holds NaN/,
      () =>
        compress(
          spoiled('nan', (path) => {
            const bytes = readFileSync(join(path, 'model.safetensors'));
            // Two bytes of bf16 NaN in the middle of the data, which belongs to some block.
            bytes.writeUInt16LE(0x7fc0, (bytes.length >> 1) & ~1);
            writeFileSync(join(path, 'model.safetensors'), bytes);
          }),
          join(folder, 'x'),
        ),
    ],
    [
      'an empty calibration text',
      2,
      /no text/,
      () => {
        writeFileSync(join(folder, 'empty.txt'), '');
        return compress(model, join(folder, 'x'), '--calibration', join(folder, 'empty.txt'));
      },
    ],
    [
      'a calibration text that is too short',
      2,
      /too few for 8 different windows of 128/,
      () => {
        writeFileSync(join(folder, 'short.txt'), 'My fellow citizens.');
        return compress(model, join(folder, 'x'), '--calibration', join(folder, 'short.txt'));
      },
    ],
    [
      'patterns that match nothing',
      2,
      /the pattern nothing matches no linear layer/,
      () => compress(model, join(folder, 'x'), '--include', 'nothing'),
    ],
    [
      'a missing evaluation text, before the run',
      1,
      /^(?!.*\[ *1\/).*nowhere\.txt/s,
      () => compress(model, join(folder, 'x'), '--evaluate', join(folder, 'nowhere.txt')),
    ],
    [
      'windows without an evaluation',
      2,
      /--windows are those of --evaluate/,
      () => compress(model, join(folder, 'x'), '--windows', '3'),
    ],
    [
      'a file in place of its folder, before the run',
      1,
      /^(?!.*\[ *1\/).*is a file, and the model needs a folder/s,
      () => {
        writeFileSync(join(folder, 'file'), '');
        return compress(model, join(folder, 'file'));
      },
    ],
    [
      'a dry run of what a run refuses',
      1,
      /no file or folder|cannot/,
      () => compress(model, '/dev/null/x', '--dry-run'),
    ],
    [
      'to write over its source',
      2,
      /is the model to be read/,
      () =>
        compress(
          spoiled('self', () => {}),
          join(folder, 'self'),
        ),
    ],
  ];
  it.each(cases)(
    '%s',
    (_case, code, message, run) => {
      const { status, stderr } = run();
      expect(stderr).toMatch(message);
      expect(status).toBe(code);
    },
    60_000,
  );

  it.skipIf(process.platform === 'win32')('an output that cannot be written, before any work', () => {
    const locked = join(folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o500);
    // Root may write anywhere: a file in place of a folder stops it too.
    const out = process.getuid?.() === 0 ? '/dev/null/x' : join(locked, 'x');
    const { status, stderr } = compress(model, out);
    expect(stderr).toMatch(/cannot write/);
    expect(status).toBe(1);
  });

  it.skipIf(process.getuid?.() !== 0 || process.platform !== 'linux')(
    'to end half-written on a full disk',
    (context) => {
      const disk = join(folder, 'disk');
      mkdirSync(disk);
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk]).status === 0;
      if (!mounted) return context.skip('mounting a small disk is not permitted here');
      try {
        const { status, stderr } = compress(model, join(disk, 'x'));
        expect(stderr).toMatch(/no space left/);
        expect(status).toBe(1);
        expect(dsf('inspect', join(disk, 'x')).status).toBe(1);
      } finally {
        spawnSync('umount', [disk]);
      }
    },
    60_000,
  );
});
