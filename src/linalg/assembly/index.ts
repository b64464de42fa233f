export * from './elementwise';
export * from './float64';
export * from './gemm';
export * from './images';
export * from './selection';
export * from './training';
export * from './transformer';
