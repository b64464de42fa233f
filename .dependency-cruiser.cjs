/**
 * Data flows down this list once: a folder imports only from those after itself. docs/architecture.md says why.
 * @type {string[]}
 */
const layers = [
  'cli',
  'report',
  'comparison',
  'finetuning',
  'compression',
  'training',
  'evaluation',
  'runtime',
  'models',
  'calibration',
  'factorization',
  'formats',
  'linalg',
];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...layers.slice(1).map((layer, index) => ({
      name: `${layer}-imports-only-from-below`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: `^src/(${layers.slice(0, index + 1).join('|')})/` },
    })),
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'errors-import-nothing', severity: 'error', from: { path: '^src/errors.ts$' }, to: { path: '^src/' } },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/(linalg/assembly|runtime/kernels)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default'] },
  },
};
