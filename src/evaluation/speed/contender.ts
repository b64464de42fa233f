import type { PostedError } from '../../errors.js';
import type { Representation } from '../../runtime/representation.js';
import type { KernelWork } from './product-kernels.js';

/** The runtime, on a dense or compressed model. */
export interface RuntimeContender {
  readonly kind: 'runtime';
  readonly path: string;
  /** Of all products (default: as the model is tuned, or as measured at loading). */
  readonly representation?: Representation;
}

/** What runs in a process of its own, so that resident memory is its own and a crash is a message. */
export type Contender =
  | RuntimeContender
  /** The dense fp32 products of one token, all linear layers and the head, as sgemv of the system's BLAS: no attention. */
  | { readonly kind: 'blas'; readonly path: string }
  /** The checkpoint exported to ONNX, with onnxruntime-node. */
  | { readonly kind: 'onnxruntime'; readonly path: string; readonly file: string }
  /** That export, with transformers.js, which is loaded from a file. */
  | { readonly kind: 'transformers'; readonly path: string; readonly module: string }
  /** A GGUF file of the checkpoint, with node-llama-cpp, which is loaded from a file. */
  | { readonly kind: 'llama'; readonly path: string; readonly file: string; readonly module: string };

/** What else runs the dense model. */
export type Rival = Exclude<Contender, RuntimeContender>;

/** Names of rivals where they are spoken of. */
export const rivalNames: Readonly<Record<Rival['kind'], string>> = {
  blas: 'sgemv',
  onnxruntime: 'onnxruntime',
  transformers: '@huggingface/transformers',
  llama: 'node-llama-cpp',
};

export interface SpeedSettings {
  readonly threads: number;
  /** Lengths of prompts, ascending. */
  readonly prompts: readonly number[];
  /** Tokens generated behind the first prompt. */
  readonly tokens: number;
}

/** What a contender says of itself when it is loaded and has computed one token. */
export interface ContenderReport {
  readonly description: string;
  readonly loadSeconds: number;
  /** Of the process; undefined for {@link Contender} kinds that hold no model. */
  readonly residentBytes?: number;
  readonly model?: {
    readonly compressed: boolean;
    /** In memory, the cache apart. */
    readonly weightBytes: number;
    /** Weights that one token reads. */
    readonly tokenBytes: number;
    /** Keys and values that one token behind the first prompt reads. */
    readonly cacheBytes: number;
    /** Of the products of one token. */
    readonly work: KernelWork;
    /** Compressed products in each representation. */
    readonly representations: Readonly<Record<string, number>>;
    readonly tuningIgnored?: string;
  };
}

/** Milliseconds of one round. */
export interface SpeedRound {
  /** Of each prompt, up to its first token; empty where only tokens are timed. */
  readonly prompts: readonly number[];
  readonly perToken: number;
  /** Of the process at the end of the round. */
  readonly residentBytes: number;
}

export type ContenderRequest = { readonly contender: Contender; readonly settings: SpeedSettings } | 'round';
export type ContenderAnswer =
  | { readonly ready: ContenderReport }
  | { readonly round: SpeedRound }
  | { readonly error: PostedError };

/** A contender that is loaded. */
export interface LoadedContender {
  readonly report: ContenderReport;
  round(): Promise<SpeedRound>;
}
