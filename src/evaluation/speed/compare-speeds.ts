import { availableParallelism, cpus } from 'node:os';
import type { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { openModel } from '../../models/llama/open-model.js';
import { type Contender, type ContenderReport, rivalNames } from './contender.js';
import { findRivals } from './find-rivals.js';
import { type MachineSpeed, measureMachine } from './measure-machine.js';
import { type FailedRival, type MeasuredContender, measureSpeeds } from './measure-speeds.js';
import type { speedOptionsSchema } from './options.js';
import { type Roofline, roofline } from './roofline.js';
import { type Spread, spreadOf } from './spread.js';

const promptLengths = [128, 512];
const mostThreadsPerCore = 4;

export interface SpeedRow {
  readonly kind: Contender['kind'];
  readonly path: string;
  readonly report: ContenderReport;
  /** Bytes of the tensors in the model's files; undefined where the row is no model. */
  readonly fileBytes?: number;
  readonly tokensPerSecond: Spread;
  /** Tokens a second of each prompt. */
  readonly prompts: readonly { readonly length: number; readonly tokensPerSecond: Spread }[];
  /** Milliseconds to the first token behind the longest prompt. */
  readonly firstToken?: Spread;
  /** Bytes of the process behind all rounds. */
  readonly residentAfter: number;
  /** How many times as fast as this row the first one generates, round by round; undefined for the first. */
  readonly firstIsFaster?: Spread;
  readonly roofline?: Roofline;
}

export interface SpeedComparison {
  readonly processor: string;
  readonly threads: number;
  readonly rounds: number;
  readonly tokens: number;
  /** Cores that this process may use: more threads wait for each other. */
  readonly cores: number;
  readonly machine: MachineSpeed;
  /** The model that was asked about, the dense one, rivals. */
  readonly rows: readonly SpeedRow[];
  /** What was looked for and not found, or failed, each with the reason. */
  readonly absent: readonly string[];
}

type SpeedOptions = z.output<typeof speedOptionsSchema> & { readonly onProgress?: (doing: string) => void };

/**
 * Speed and memory of a model next to its dense original and to what else is on the machine, see {@link measureSpeeds}.
 * @throws DoubleSparseError `option-out-of-range` when the context is too short for the tokens or there are many more
 *   threads than cores, and of {@link measureSpeeds}
 */
export async function compareSpeeds(path: string, options: SpeedOptions): Promise<SpeedComparison> {
  const { against, threads = availableParallelism(), rounds, tokens, representation, onProgress } = options;
  requireFewThreads(threads);
  const models = [path, ...(against === undefined ? [] : [against])];
  const headers = models.map(readHeaders);
  const prompts = promptsWithin(Math.min(...headers.map(({ context }) => context)), tokens);
  const { found, absent } = findRivals(headers.at(-1)!.path);
  const contenders: Contender[] = [
    ...models.map((each, i) => ({
      kind: 'runtime' as const,
      path: each,
      ...(i === 0 && representation && { representation }),
    })),
    ...found,
  ];
  onProgress?.('measuring the memory and the kernels');
  const machine = await measureMachine(threads);
  const settings = { threads, prompts, tokens };
  const { measured, failed } = await measureSpeeds(contenders, settings, { rounds, ...(onProgress && { onProgress }) });
  const first = measured[0] as MeasuredContender;
  const rows = measured.map((each, i): SpeedRow => {
    const row = rowOf(each, prompts, machine, threads);
    const ratios = each.rounds.map(({ perToken }, round) => perToken / (first.rounds[round]?.perToken ?? Number.NaN));
    const bytes = headers[i]?.fileBytes;
    return {
      ...row,
      ...(bytes !== undefined && { fileBytes: bytes }),
      ...(i > 0 && { firstIsFaster: spreadOf(ratios) }),
    };
  });
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    threads,
    rounds,
    cores: availableParallelism(),
    tokens,
    machine,
    rows,
    absent: [...absent, ...failed.map(absentLine)],
  };
}

function rowOf(
  { contender, report, rounds }: MeasuredContender,
  lengths: readonly number[],
  machine: MachineSpeed,
  threads: number,
): SpeedRow {
  const { kind, path } = contender;
  const tokensPerSecond = spreadOf(rounds.map(({ perToken }) => 1000 / perToken));
  const times = lengths.map((_, i) => rounds.flatMap(({ prompts }) => prompts[i] ?? []));
  const longest = times.at(-1) ?? [];
  return {
    kind,
    path,
    report,
    tokensPerSecond,
    prompts: lengths.flatMap((length, i) => {
      const own = times[i] as number[];
      return own.length === 0 ? [] : { length, tokensPerSecond: spreadOf(own.map((ms) => (1000 * length) / ms)) };
    }),
    ...(longest.length > 0 && { firstToken: spreadOf(longest) }),
    residentAfter: Math.max(...rounds.map(({ residentBytes }) => residentBytes)),
    ...(report.model && { roofline: roofline(report.model, tokensPerSecond.median, machine, threads) }),
  };
}

/** Folder or file of a model, which may be named by its id in the hub cache, and what else is told before it is loaded. */
function readHeaders(model: string): { path: string; fileBytes: number; context: number } {
  const { checkpoint, config } = openModel(model);
  checkpoint.close();
  const fileBytes = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  return { path: checkpoint.path, fileBytes, context: config.contextLength };
}

const absentLine = ({ contender, reason }: FailedRival): string => `${rivalNames[contender.kind]}: ${reason}`;

/** Lengths that leave room for the tokens behind them. */
function promptsWithin(context: number, tokens: number): number[] {
  const room = context - tokens;
  if (room >= 1) return [...new Set(promptLengths.map((length) => Math.min(length, room)))];
  throw new DoubleSparseError(
    'option-out-of-range',
    `${tokens} tokens leave no room for a prompt in a context of ${context}`,
    { data: { tokens, context }, hint: 'use fewer --tokens' },
  );
}

/** Threads that wait for each other by spinning: with many more than cores a token takes seconds. */
function requireFewThreads(threads: number): void {
  const cores = availableParallelism();
  const limit = mostThreadsPerCore * cores;
  if (threads <= limit) return;
  throw new DoubleSparseError(
    'option-out-of-range',
    `${threads} threads are more than ${limit}, ${mostThreadsPerCore} for each of the ${cores} cores here`,
    { data: { threads, cores, limit }, hint: `use --threads ${cores} or fewer` },
  );
}
