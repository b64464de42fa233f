import { Compute } from './compute.js';
import { createChosenEngine, type EngineChoice } from './engines/select.js';

/** What a thread computes with: the engine of a choice made by the main thread, with a number of BLAS threads. */
export function createCompute(choice: EngineChoice, blasThreads: number): Compute {
  const engine = createChosenEngine(choice);
  engine.setThreads(blasThreads);
  return new Compute(engine);
}
