import { invertPositiveDefinite, withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { diagonal, type Matrix, transpose } from '../linalg/matrix.js';
import { leftProblem, rightProblem } from './double-sparse/factor-problem.js';
import { refitFactor } from './double-sparse/refit.js';
import type { FactorizationMethod } from './factorization.js';
import { keepLargestPerRow } from './keep-largest-per-row.js';
import { leadingOutputDirections, zeroFactors } from './low-rank.js';
import { measured, type Solution } from './measure.js';

/** Atoms for each nonzero of a code (the papers' k / s). */
const atomsPerNonzero = 4;
/** Alternations of codes and dictionary after the first step. */
const alternations = 20;
/** In the last few alternations the codes start from the last ones with full weight. */
const settledAlternations = 3;
/** Proximal steps for the codes in each alternation. */
const proximalSteps = 2;
/** Ridges, as multiples of the mean diagonal: for codes (atoms of unit norm) and for the dictionary. */
const codeRidge = 0.01;
const dictionaryRidge = 1e-6;
/** The same for H: without samples in some direction, atoms there would be told apart by rounding. */
const gramRidge = 1e-5;
/** Final refits of codes on their supports, then dictionary. */
const refitRounds = 3;
const refitSteps = 10;

/**
 * Sparse dictionary (CoSpaDi, arXiv 2509.22075; ROCKET, arXiv 2602.11008, section 3): W = D S, D dense, S sparse with a
 * fixed count of nonzeros for every column, under tr((W - D S) H (W - D S)^T).
 *
 * Start as in ROCKET: the leading singular vectors of W H^(1/2) as atoms, the largest coefficients of each column kept,
 * the dictionary by least squares. Then alternations: codes by ADMM with the count imposed on every column, dictionary
 * by least squares under the full H; at last the codes on their supports by conjugate gradients.
 *
 * The dictionary stands on the shorter side of W, where an atom costs least: D is out x r and S r x in if out <= in;
 * else W = S D, S out x r with a count per row, D r x in. (Measured at sparsity 0.5: the other choice has 2 to 3 times
 * the error on layers that are not square.) Split: r = 4 s atoms for s nonzeros a code, at most the shorter side: on
 * trained layers within 5 % of the best of 2, 3, 4 and 6 at sparsities 0.3 to 0.85. Nonzeros: r short + s long.
 * A budget below one atom and one nonzero a code gives zero factors: relative error 1.
 */
export const sparseDictionary: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget): Solution => {
    const short = Math.min(w.rows, w.columns);
    const long = Math.max(w.rows, w.columns);
    const split = splitBudget(budget, short, long);
    if (split === undefined) return zeroFactors(w, compute);
    const { atoms, count } = split;
    const left = compute.matrix(w.rows, atoms);
    const right = compute.matrix(atoms, w.columns);
    return compute.scope(() => {
      const damped = withRidge(h, gramRidge, compute);
      const weightGram = compute.matrix(w.rows, w.columns);
      compute.gemm(w, damped, weightGram);
      const side =
        w.rows <= w.columns
          ? dictionaryOfOutputs(w, damped, weightGram, left, right, compute)
          : dictionaryOfInputs(w, damped, weightGram, left, right, compute);
      const codes = compute.matrix(long, atoms);
      const dual = compute.matrix(long, atoms);
      const damping = side.start(dual);
      keepLargestPerRow(dual, count, codes);
      dual.data.fill(0);
      side.fitDictionary(codes);
      for (let alternation = 1; alternation <= alternations; alternation++) {
        const weightOfLast = Math.min(1, alternation / (alternations - settledAlternations)) ** 3;
        updateCodes(side, codes, dual, count, weightOfLast, compute);
        side.fitDictionary(codes);
      }
      for (let round = 0; round < refitRounds; round++) side.refitCodes();
      return { factors: [left, right], damping };
    });
  });

/** r atoms of `short` entries and s nonzeros in each of `long` codes, r short + s long <= budget. */
function splitBudget(budget: number, short: number, long: number): { atoms: number; count: number } | undefined {
  const wanted = Math.max(1, Math.floor(budget / (atomsPerNonzero * short + long)));
  const atoms = Math.min(atomsPerNonzero * wanted, short, Math.floor((budget - wanted * long) / short));
  if (atoms < 1) return undefined;
  return { atoms, count: Math.min(atoms, Math.floor((budget - atoms * short) / long)) };
}

/** Codes are held row by row (long x r) in coordinates in which their problem is an ordinary one. */
interface DictionarySide {
  /** Writes the first, dense codes. Returns the damping of H. */
  start(codes: Matrix): number;
  /** The normal equations of the codes: C G = R, G r x r, R long x r. */
  normalEquations(g: Matrix, r: Matrix): void;
  /** Puts the codes into their factor and fits the other one to it; atoms of no code stay, to be chosen later. */
  fitDictionary(codes: Matrix): void;
  /** Refits the factor of the codes on its support, then the other; atoms of no code become zero. */
  refitCodes(): void;
}

/**
 * W = D S, D = `left` (out x r), S = `right` (r x in). Codes are the columns of S, times sqrt(H_jj): they are coupled
 * by H, of which their own update sees the diagonal only. The dictionary's sees all: D = W H S^T (S H S^T)^-1.
 */
function dictionaryOfOutputs(
  w: Matrix,
  h: Matrix,
  weightGram: Matrix,
  left: Matrix,
  right: Matrix,
  compute: Compute,
): DictionarySide {
  const norms = Float32Array.from(diagonal(h), (value) => Math.sqrt(Math.max(0, value)));
  const inverseNorms = norms.map((norm) => (norm > 0 ? 1 / norm : 0));
  const scaled = compute.matrix(w.rows, w.columns);
  compute.kernels.scaleColumns(scaled.data, w.data, norms);
  const solveDictionary = (): void =>
    compute.scope(() => {
      const { rows: atoms, columns } = right;
      const half = compute.matrix(atoms, columns);
      const inner = compute.matrix(atoms, atoms);
      const known = compute.matrix(left.rows, atoms);
      compute.gemm(right, h, half);
      compute.gemm(half, right, inner, { transposeB: true });
      compute.gemm(weightGram, right, known, { transposeB: true });
      compute.gemm(known, regularizedInverse(inner, dictionaryRidge, compute), left);
    });
  return {
    start(codes) {
      const { left: directions, damping } = leadingOutputDirections(w, h, codes.columns, compute);
      left.data.set(directions.data);
      compute.gemm(scaled, directions, codes, { transposeA: true });
      return damping;
    },
    normalEquations(g, r) {
      compute.syrk(left, g, { transpose: true });
      compute.gemm(scaled, left, r, { transposeA: true });
    },
    fitDictionary(codes) {
      transpose(codes, right);
      compute.kernels.scaleColumns(right.data, right.data, inverseNorms);
      const before = left.data.slice();
      solveDictionary();
      const used = usedAtoms(codes);
      for (let at = 0; at < before.length; at++) if (!used[at % codes.columns]) left.data[at] = before[at];
    },
    refitCodes() {
      const layer = { weight: w, gram: h, a: left, b: right };
      compute.scope(() => refitFactor(rightProblem(layer, compute), refitSteps, compute));
      solveDictionary();
    },
  };
}

/**
 * W = S D, S = `left` (out x r), D = `right` (r x in). Codes are the rows of S, which H does not couple: their problem
 * is the ordinary one with the dictionary in whitened coordinates D H^(1/2), and D = (S^T S)^-1 S^T W whatever H is.
 */
function dictionaryOfInputs(
  w: Matrix,
  h: Matrix,
  weightGram: Matrix,
  left: Matrix,
  right: Matrix,
  compute: Compute,
): DictionarySide {
  const solveDictionary = (): void =>
    compute.scope(() => {
      const { rows: atoms, columns } = right;
      const inner = compute.matrix(atoms, atoms);
      const known = compute.matrix(atoms, columns);
      compute.syrk(left, inner, { transpose: true });
      compute.gemm(left, w, known, { transposeA: true });
      compute.gemm(regularizedInverse(inner, dictionaryRidge, compute), known, right);
    });
  return {
    start(codes) {
      const { left: directions, strengths, damping } = leadingOutputDirections(w, h, codes.columns, compute);
      compute.gemm(directions, w, right, { transposeA: true });
      compute.kernels.scaleColumns(codes.data, directions.data, strengths);
      return damping;
    },
    normalEquations(g, r) {
      compute.scope(() => {
        const half = compute.matrix(right.rows, right.columns);
        compute.gemm(right, h, half);
        compute.gemm(half, right, g, { transposeB: true });
        compute.gemm(weightGram, right, r, { transposeB: true });
      });
    },
    fitDictionary(codes) {
      left.data.set(codes.data);
      const before = right.data.slice();
      solveDictionary();
      const { columns } = right;
      for (const [atom, used] of usedAtoms(codes).entries()) {
        if (!used) right.data.set(before.subarray(atom * columns, (atom + 1) * columns), atom * columns);
      }
    },
    refitCodes() {
      const layer = { weight: w, gram: h, a: left, b: right };
      compute.scope(() => refitFactor(leftProblem(layer, compute), refitSteps, compute));
      solveDictionary();
    },
  };
}

/**
 * One update of the codes, as in {@link proximalUpdate} but with the count imposed on every row. With atoms of unit
 * norm: X = (R + rho0 (Z - U)) (G + rho0)^-1, then T = X + U, Z = its largest entries, U = T - Z, X = (R + Z - U)
 * (G + 1)^-1. `codes` is Z, `dual` U.
 */
function updateCodes(
  side: DictionarySide,
  codes: Matrix,
  dual: Matrix,
  count: number,
  openingPenalty: number,
  compute: Compute,
): void {
  const { kernels } = compute;
  const atoms = codes.columns;
  compute.scope(() => {
    const g = compute.matrix(atoms, atoms);
    const right = compute.matrix(codes.rows, atoms);
    side.normalEquations(g, right);
    const norms = Float32Array.from(diagonal(g), (value) => Math.sqrt(Math.max(0, value)));
    const inverseNorms = norms.map((norm) => (norm > 0 ? 1 / norm : 0));
    kernels.scaleRows(g.data, g.data, inverseNorms);
    kernels.scaleColumns(g.data, g.data, inverseNorms);
    kernels.scaleColumns(right.data, right.data, inverseNorms);
    kernels.scaleColumns(codes.data, codes.data, norms);
    kernels.scaleColumns(dual.data, dual.data, norms);
    const known = compute.matrix(codes.rows, atoms);
    const iterate = compute.matrix(codes.rows, atoms);
    for (let step = 0; step < proximalSteps; step++) {
      const penalty = step === 0 ? openingPenalty : 1;
      kernels.linearCombination(known.data, penalty, codes.data, -penalty, dual.data);
      kernels.linearCombination(known.data, 1, known.data, 1, right.data);
      compute.scope(() => compute.gemm(known, regularizedInverse(g, codeRidge + penalty, compute), iterate));
      kernels.linearCombination(dual.data, 1, dual.data, 1, iterate.data);
      keepLargestPerRow(dual, count, codes);
    }
    kernels.scaleColumns(codes.data, codes.data, inverseNorms);
    kernels.scaleColumns(dual.data, dual.data, inverseNorms);
  });
}

/** Which columns of the codes are not zero. */
function usedAtoms(codes: Matrix): boolean[] {
  const used = new Array<boolean>(codes.columns).fill(false);
  for (let at = 0; at < codes.data.length; at++) if (codes.data[at] !== 0) used[at % codes.columns] = true;
  return used;
}

/** (G + ridge * mean(diag G) I)^-1, further damped where that is not positive definite. In the caller's scope. */
function regularizedInverse(g: Matrix, ridge: number, compute: Compute): Matrix {
  return withDamping(withRidge(g, ridge, compute), compute, (damped) =>
    invertPositiveDefinite(damped, compute) ? damped : undefined,
  ).result;
}

/** G + ridge * mean(diag G) I, in the caller's scope. */
function withRidge(g: Matrix, ridge: number, compute: Compute): Matrix {
  const n = g.rows;
  const result = compute.matrix(n, n);
  result.data.set(g.data);
  const added = diagonal(g).reduce((sum, value) => sum + (ridge * value) / n, 0);
  for (let i = 0; i < n; i++) result.data[i * n + i] += added;
  return result;
}
