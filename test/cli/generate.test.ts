import { type ChildProcess, spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { dsf, root, startDsf } from './run-dsf.js';

const model = join(root, 'models/sotu-m');
const folder = temporaryFolder();
const [golden] = JSON.parse(readFileSync(join(root, 'test/runtime/generation/golden/generation.json'), 'utf8')) as {
  prompt: string;
  ids: number[];
  text: string;
}[];
if (!golden) throw new Error('there are no goldens');
const maxTokens = String(golden.ids.length);

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end; `onText` is called with the first text on standard output. */
function ended(child: ChildProcess, onText: (child: ChildProcess) => void): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (data: Buffer) => {
    if (stdout === '') onText(child);
    stdout += data;
  });
  child.stderr?.on('data', (data: Buffer) => {
    stderr += data;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

describe('dsf generate', () => {
  test('continues a text greedily; the text alone is on standard output', () => {
    const { status, stdout, stderr } = dsf('generate', model, '--prompt', golden.prompt, '--max-tokens', maxTokens);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe(`${golden.text}\n`);
    expect(stderr).toContain('greedy (temperature 0)');
    expect(stderr).toContain('no BOS');
    expect(stderr).toMatch(
      /\d+ prompt tokens in [\d.]+ s \([\d.]+ tokens\/s\), first token after [\d.]+ s; \d+ tokens in [\d.]+ s \([\d.]+ tokens\/s\); ended by --max-tokens/,
    );
  });

  test('a prompt from standard input, the result as JSON', () => {
    const args = ['generate', model, '--prompt', '-', '--max-tokens', maxTokens, '--json'];
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
      encoding: 'utf8',
      input: `${golden.prompt}\n`,
    });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      text: golden.text,
      tokens: golden.ids.length,
      ids: golden.ids,
      promptTokens: 11,
      promptSeconds: expect.any(Number),
      firstTokenSeconds: expect.any(Number),
      generationSeconds: expect.any(Number),
      reason: 'length',
    });
  });

  test('ends before any of several stop strings', () => {
    const stops = ['--stop', 'never, ever', '--stop', ' and'];
    const { stdout } = dsf('generate', model, '--prompt', golden.prompt, '--max-tokens', maxTokens, ...stops, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      text: golden.text.slice(0, golden.text.indexOf(' and')),
      reason: 'stop',
    });
  });

  test('a seed gives the same text again, another seed another', () => {
    const sample = (seed: string): string =>
      dsf(
        'generate',
        model,
        '--prompt',
        'Peace',
        '--max-tokens',
        '12',
        '--temperature',
        '1',
        '--top-k',
        '50',
        '--seed',
        seed,
      ).stdout;
    const first = sample('1');
    expect(sample('1')).toBe(first);
    expect(sample('2')).not.toBe(first);
  });

  test('says that the context is full', () => {
    const { status, stdout, stderr } = dsf('generate', model, '--prompt', 'Peace', '--context', '8');
    expect(status).toBe(0);
    expect(stdout.length).toBeGreaterThan(1);
    expect(stderr).toContain('--context');
  });

  test('a chat goes through the template of the model', () => {
    const path = join(folder, 'chat');
    cpSync(model, path, { recursive: true });
    const template = "{% for m in messages %}{{ m.content + '\n' }}{% endfor %}";
    writeFileSync(join(path, 'chat_template.jinja'), template);
    const options = ['--max-tokens', '4', '--json'];
    const chat = dsf('generate', path, '--prompt', 'Peace', '--chat', '--system', 'Speak', ...options);
    expect(chat.status, chat.stderr).toBe(0);
    const { text } = JSON.parse(dsf('generate', model, '--prompt', 'Speak\nPeace\n', ...options).stdout);
    expect(JSON.parse(chat.stdout).text).toBe(text);
  });
});

describe('refused with a hint', () => {
  test.each([
    { flags: ['--chat'], says: 'chat template' },
    { flags: ['--system', 'x'], says: '--chat' },
    { flags: ['--top-p', '0'], says: '--top-p' },
    { flags: ['--temperature', 'warm'], says: '--temperature' },
    { flags: ['--stop', ''], says: 'stop' },
    { flags: ['--context', '1'], says: '--context' },
  ])('$flags', ({ flags, says }) => {
    const { status, stdout, stderr } = dsf('generate', model, '--prompt', 'A text', ...flags);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(says);
  });
});

describe('an end from outside', () => {
  const long = ['generate', model, '--prompt', 'My fellow citizens', '--max-tokens', '400'];

  test('Ctrl-C keeps what was generated', async () => {
    const { code, stdout, stderr } = await ended(startDsf(...long), (child) => child.kill('SIGINT'));
    expect(code).toBe(130);
    expect(stdout).toMatch(/\S.*\n$/s);
    expect(stderr).toMatch(/\d tokens in .*interrupted/);
  });

  test('a reader that goes away is no crash', async () => {
    const { code, stderr } = await ended(startDsf(...long), (child) => child.stdout?.destroy());
    expect(code).toBe(130);
    expect(stderr).toContain('interrupted');
    expect(stderr).not.toContain('EPIPE');
  });
});
