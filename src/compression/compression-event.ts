import type { PlannedUnit } from './compression-plan.js';
import type { BlockGains } from './matching/match-block.js';
import type { FinishedProduct } from './product-file.js';

/** Progress of a run, told as it happens. */
export type CompressionEvent =
  | { kind: 'status'; text: string }
  | { kind: 'resumed'; finished: number; total: number }
  | { kind: 'matched'; block: number; gains: BlockGains }
  | {
      kind: 'product';
      done: number;
      total: number;
      unit: PlannedUnit;
      metrics: FinishedProduct['metrics'];
      /** Seconds left by the operations of what is left, undefined at first. */
      eta: number | undefined;
    };
