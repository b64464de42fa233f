export * from './elementwise';
export * from './gemm';
export * from './selection';
export * from './transformer';
