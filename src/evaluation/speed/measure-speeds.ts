import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DoubleSparseError, describeError, receivedError } from '../../errors.js';
import { workerFile } from '../../worker-file.js';
import type {
  Contender,
  ContenderAnswer,
  ContenderReport,
  ContenderRequest,
  Rival,
  SpeedRound,
  SpeedSettings,
} from './contender.js';

export interface MeasuredContender {
  readonly contender: Contender;
  readonly report: ContenderReport;
  readonly rounds: readonly SpeedRound[];
}

/** A rival that could not be loaded, or failed in a round. */
export interface FailedRival {
  readonly contender: Rival;
  readonly reason: string;
}

export interface MeasureOptions {
  readonly rounds: number;
  /** Called with what is being done. */
  readonly onProgress?: (doing: string) => void;
}

interface RunningContender extends MeasuredContender {
  readonly child: ChildProcess;
  readonly rounds: SpeedRound[];
}

/** As the command line itself runs: what a process takes is then what a user sees. */
const execArgv = ['--max-semi-space-size=1'];

/**
 * Times contenders, each loaded in a process of its own, in turns: what else the machine does for a moment then slows
 * a round of each, not one of them. A round that is not counted comes first. A rival that fails is left out.
 * @throws DoubleSparseError `worker-failed`, and what loading a model with the runtime throws
 */
export async function measureSpeeds(
  contenders: readonly Contender[],
  settings: SpeedSettings,
  { rounds, onProgress }: MeasureOptions,
): Promise<{ measured: MeasuredContender[]; failed: FailedRival[] }> {
  const running = new Set<RunningContender>();
  const children: ChildProcess[] = [];
  const failed: FailedRival[] = [];
  const unlessRival = (contender: Contender, error: unknown): void => {
    if (contender.kind === 'runtime') throw error;
    failed.push({ contender, reason: describeError(error) });
  };
  try {
    for (const contender of contenders) {
      onProgress?.(`loading ${contender.path} (${contender.kind})`);
      const child = fork(fileURLToPath(workerFile('evaluation/speed/contender-process.js')), {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        execArgv,
      });
      children.push(child);
      try {
        const answer = await ask(child, { contender, settings });
        if (!('ready' in answer)) throw new DoubleSparseError('worker-failed', 'a contender gave no report');
        running.add({ contender, child, report: answer.ready, rounds: [] });
      } catch (error) {
        unlessRival(contender, error);
        child.kill();
      }
    }
    for (let round = 0; round <= rounds; round++) {
      onProgress?.(`round ${round} of ${rounds}`);
      for (const each of running) {
        try {
          const answer = await ask(each.child, 'round');
          if ('round' in answer && round > 0) each.rounds.push(answer.round);
        } catch (error) {
          unlessRival(each.contender, error);
          running.delete(each);
          each.child.kill();
        }
      }
    }
  } finally {
    for (const child of children) child.kill();
  }
  const measured = [...running].map(({ contender, report, rounds: own }) => ({ contender, report, rounds: own }));
  return { measured, failed };
}

function ask(child: ChildProcess, request: ContenderRequest): Promise<ContenderAnswer> {
  return new Promise((resolve, reject) => {
    const onMessage = (answer: ContenderAnswer): void => {
      child.off('exit', onExit);
      if ('error' in answer) reject(receivedError(answer.error));
      else resolve(answer);
    };
    const onExit = (code: number | null, signal: string | null): void => {
      child.off('message', onMessage);
      reject(
        new DoubleSparseError('worker-failed', `the process of a contender ended (${signal ?? `exit code ${code}`})`, {
          hint: 'it may have run out of memory: close other programs, or compare fewer models',
        }),
      );
    };
    child.once('message', onMessage);
    child.once('exit', onExit);
    child.send(request);
  });
}
