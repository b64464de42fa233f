export * from './elementwise';
export * from './float64';
export * from './gemm';
export * from './selection';
export * from './transformer';
