import { admm } from './admm.js';
import { blockDiagonal } from './block-diagonal.js';
import { doubleSparse, doubleSparseFixedMask } from './double-sparse/double-sparse.js';
import { doubleSparseReference } from './double-sparse/reference-schedule.js';
import type { FactorizationMethod } from './factorization.js';
import { lowRank } from './low-rank.js';
import { magnitude } from './magnitude.js';
import { obc } from './obc/obc.js';
import { sparseDictionary } from './sparse-dictionary.js';
import { sparsegpt } from './sparsegpt.js';
import { wanda } from './wanda.js';

/** Names as users type them, in the order in which tables show them. */
export const methodNames = [
  'double-sparse',
  'double-sparse-reference',
  'double-sparse-fixed-mask',
  'admm',
  'sparsegpt',
  'wanda',
  'magnitude',
  'obc',
  'low-rank',
  'sparse-dictionary',
  'block-diagonal',
] as const;
export type MethodName = (typeof methodNames)[number];

/** Every method by name. */
export const methods: Readonly<Record<MethodName, FactorizationMethod>> = {
  'double-sparse': doubleSparse,
  'double-sparse-reference': doubleSparseReference,
  'double-sparse-fixed-mask': doubleSparseFixedMask,
  admm,
  sparsegpt,
  wanda,
  magnitude,
  obc,
  'low-rank': lowRank,
  'sparse-dictionary': sparseDictionary,
  'block-diagonal': blockDiagonal,
};
