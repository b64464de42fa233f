import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** How to call one BLAS: file to load, prefix and suffix of its symbols, and how it names its thread count. */
export interface NativeLibrary {
  readonly title: string;
  readonly file: string;
  /** Symbols are `${prefix}cblas_sgemm${suffix}`. */
  readonly prefix: string;
  readonly suffix: string;
  /** `void f(int)` that sets the threads of a call, if there is one. */
  readonly setThreads?: string;
  /** `const char *f(void)` that names the processor kernel in use, if there is one. */
  readonly coreName?: string;
}

const openBlas = (file: string, prefix = '', suffix = ''): NativeLibrary => ({
  title: 'OpenBLAS',
  file,
  prefix,
  suffix,
  setThreads: `${prefix}openblas_set_num_threads${suffix}`,
  coreName: `${prefix}openblas_get_corename${suffix}`,
});
const mkl = (file: string): NativeLibrary => ({
  title: 'MKL',
  file,
  prefix: '',
  suffix: '',
  setThreads: 'MKL_Set_Num_Threads',
});
const blis = (file: string): NativeLibrary => ({
  title: 'BLIS',
  file,
  prefix: '',
  suffix: '',
  setThreads: 'bli_thread_set_num_threads',
});

function ofExplicitPath(file: string): NativeLibrary[] {
  if (/mkl/i.test(file)) return [mkl(file)];
  if (/blis/i.test(file)) return [blis(file)];
  return [openBlas(file), openBlas(file, 'scipy_'), { title: 'BLAS', file, prefix: '', suffix: '' }];
}

/** The OpenBLAS inside Python's scipy-openblas32 wheel, where such an environment is active. */
function ofPythonWheels(environment: NodeJS.ProcessEnv): NativeLibrary[] {
  const root = environment.VIRTUAL_ENV ?? environment.CONDA_PREFIX;
  if (root === undefined) return [];
  const found: NativeLibrary[] = [];
  for (const version of entries(join(root, 'lib'))) {
    const folder = join(root, 'lib', version, 'site-packages', 'scipy_openblas32', 'lib');
    for (const name of entries(folder))
      if (/^libscipy_openblas\./.test(name)) found.push(openBlas(join(folder, name), 'scipy_'));
  }
  return found;
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Candidates in the order in which they are tried: `DSF_BLAS` alone if set, else what the platform usually has. */
export function nativeLibraries(
  platform: NodeJS.Platform = process.platform,
  environment: NodeJS.ProcessEnv = process.env,
): NativeLibrary[] {
  if (environment.DSF_BLAS) return ofExplicitPath(environment.DSF_BLAS);
  if (platform === 'darwin') {
    return [
      {
        title: 'Accelerate',
        file: '/System/Library/Frameworks/Accelerate.framework/Accelerate',
        prefix: '',
        suffix: '',
      },
      ...['/opt/homebrew/opt/openblas/lib/libopenblas.dylib', '/usr/local/opt/openblas/lib/libopenblas.dylib'].map(
        (file) => openBlas(file),
      ),
    ];
  }
  if (platform === 'win32')
    return [openBlas('libopenblas.dll'), openBlas('openblas.dll'), mkl('mkl_rt.2.dll'), blis('blis.dll')];
  return [
    openBlas('libopenblas.so.0'),
    openBlas('libopenblas.so'),
    mkl('libmkl_rt.so.2'),
    mkl('libmkl_rt.so'),
    blis('libblis.so.4'),
    blis('libblis.so'),
    ...ofPythonWheels(environment),
  ];
}
