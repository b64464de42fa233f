export { bitmaskProduct } from './bitmask';
export { indexedProduct } from './indexed';
export { denseProduct } from './dense';
export { expandBitmask, expandDense, expandIndexed } from './expand';
export { attentionScores, mixValues } from './attention';
