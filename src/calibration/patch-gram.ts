import { DoubleSparseError } from '../errors.js';
import type { Compute } from '../linalg/compute.js';
import { elementCount } from '../linalg/element-count.js';
import { type Matrix, rowsOf, zeros } from '../linalg/matrix.js';
import { drawDistinct, Random } from '../linalg/random.js';
import { type ConvolutionGeometry, convolutionAxes } from './convolution-geometry.js';
import { checkFinite, InputGram, type InputStatistics } from './input-gram.js';
import type { Tensor } from './tensor.js';
import { unfold } from './unfold.js';

/** Floats of patches in memory at a time (8 MiB): near the size of a cache, and still thousands of rows a product. */
const chunkLength = 1 << 21;

export interface PatchGramOptions {
  /** Of the layer, for messages. */
  layer: string;
  geometry: ConvolutionGeometry;
  /** Channels of the input, all groups together. */
  channels: number;
  /** Default 1. */
  groups?: number;
  /** Output positions of one image that are taken, drawn at random where there are more (default: all). */
  maximumPositions?: number;
  /** Of that draw (default 0). */
  seed?: number;
  /** Channels of the wanted outputs, all groups together (default 0: none are gathered). */
  targetChannels?: number;
}

/**
 * Gram matrices of the patches that a convolution multiplies its weight with, over batches of its inputs. For the weight
 * W (out x C kh kw) of a group, tr(W H W^T) is the mean over positions of the squared output, summed over channels.
 */
export class PatchGram {
  readonly #options: PatchGramOptions;
  readonly #groups: readonly InputGram[];
  readonly #patches: Matrix;
  readonly #targets: Matrix;
  readonly #random: Random;

  /** @throws DoubleSparseError `shape-mismatch` when the groups do not divide the channels */
  constructor(compute: Compute, options: PatchGramOptions) {
    const { layer, channels, groups = 1, geometry } = options;
    if (!(groups >= 1 && channels >= 1 && Number.isInteger(channels / groups))) {
      throw new DoubleSparseError('shape-mismatch', `${layer}: ${channels} channels are not ${groups} groups`, {
        data: { layer, channels, groups },
      });
    }
    const inputs = geometry.kernel.reduce((product, size) => product * size, channels / groups);
    const outputs = (options.targetChannels ?? 0) / groups;
    this.#options = options;
    this.#groups = Array.from({ length: groups }, () => new InputGram(compute, inputs, outputs));
    this.#patches = zeros(Math.max(1, Math.floor(chunkLength / inputs)), inputs);
    this.#targets = zeros(this.#patches.rows, outputs);
    this.#random = new Random(options.seed ?? 0);
  }

  /**
   * Adds a batch: N x C x H x W, or N x C x L of a 1-D convolution.
   * @param target wanted outputs of the convolution, where they are gathered.
   * @throws DoubleSparseError `shape-mismatch`, `non-finite-value`
   */
  add(input: Tensor, target?: Tensor): void {
    const { layer, channels, geometry, maximumPositions = Number.POSITIVE_INFINITY } = this.#options;
    const [images, inputChannels, ...sizes] = input.dims as [number, number];
    if (inputChannels !== channels || sizes.length !== geometry.kernel.length) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `${layer} takes ${channels} channels in ${geometry.kernel.length} dimensions, its input is [${input.dims}]`,
        { data: { layer, channels, dims: input.dims } },
      );
    }
    checkFinite(input, layer);
    const axes = convolutionAxes(geometry, sizes);
    const count = axes[0].output * axes[1].output;
    if (target) this.#checkTarget(target, images, count);
    const all = Uint32Array.from({ length: count }, (_, position) => position);
    const positions = Array.from({ length: images }, () =>
      count > maximumPositions ? Uint32Array.from(drawDistinct(count, maximumPositions, this.#random)).sort() : all,
    );
    const perGroup = channels / this.#groups.length;
    const plane = axes[0].input * axes[1].input;
    for (const [group, gram] of this.#groups.entries()) {
      let filled = 0;
      const flush = (): void => {
        gram.addRows(rowsOf(this.#patches, 0, filled), target && rowsOf(this.#targets, 0, filled));
        filled = 0;
      };
      const { columns: outputs } = this.#targets;
      for (const [image, wanted] of positions.entries()) {
        const offset = (image * channels + group * perGroup) * plane;
        for (let from = 0; from < wanted.length; ) {
          const part = wanted.subarray(from, from + this.#patches.rows - filled);
          unfold(
            { data: input.data, offset, channels: perGroup },
            axes,
            part,
            rowsOf(this.#patches, filled, part.length),
          );
          if (target) {
            const first = (image * this.#groups.length + group) * outputs;
            copyPositions(target.data, first * count, count, part, rowsOf(this.#targets, filled, part.length));
          }
          from += part.length;
          filled += part.length;
          if (filled === this.#patches.rows) flush();
        }
      }
      flush();
    }
  }

  #checkTarget({ dims }: Tensor, images: number, positions: number): void {
    const { layer, targetChannels = 0 } = this.#options;
    const [count, channels, ...sizes] = dims;
    if (count === images && channels === targetChannels && elementCount(sizes) === positions) return;
    throw new DoubleSparseError(
      'shape-mismatch',
      `${layer} makes ${images} x ${targetChannels} x ${positions} positions, wanted outputs are [${dims}]`,
      { data: { layer, targetChannels, positions, dims } },
    );
  }

  /** Of each group; the last call. @throws DoubleSparseError `option-out-of-range` when nothing was added */
  finish(): InputStatistics[] {
    return this.#groups.map((group) => group.finish());
  }
}

/** rows[i][c] = plane c at positions[i]; `count` values a plane, the first one at `offset`. */
function copyPositions(
  planes: Float32Array,
  offset: number,
  count: number,
  positions: ArrayLike<number>,
  { columns, data }: Matrix,
): void {
  for (let i = 0, at = 0; i < positions.length; i++)
    for (let c = 0; c < columns; c++) data[at++] = planes[offset + c * count + (positions[i] as number)] as number;
}
