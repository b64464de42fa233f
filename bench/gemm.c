/* Times cblas_sgemm of one BLAS library: gemm LIBRARY SIZE REPEATS -> GFLOP/s of the median, one thread count as set by
   OPENBLAS_NUM_THREADS. Built and run by gemm-versus-c.mjs. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
typedef void (*sgemm_t)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
static int compare(const void *a, const void *b) { double d = *(const double *)a - *(const double *)b; return (d > 0) - (d < 0); }
int main(int argc, char **argv) {
  if (argc < 4) return 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  sgemm_t sgemm = (sgemm_t)dlsym(library, "cblas_sgemm");
  int n = atoi(argv[2]), repeats = atoi(argv[3]);
  float *a = malloc(sizeof(float) * n * n), *b = malloc(sizeof(float) * n * n), *c = malloc(sizeof(float) * n * n);
  for (int i = 0; i < n * n; i++) { a[i] = (float)(i % 7) - 3; b[i] = (float)(i % 5) - 2; c[i] = 0; }
  double *seconds = malloc(sizeof(double) * repeats);
  sgemm(101, 111, 111, n, n, n, 1, a, n, b, n, 0, c, n);
  for (int r = 0; r < repeats; r++) { double start = now(); sgemm(101, 111, 111, n, n, n, 1, a, n, b, n, 0, c, n); seconds[r] = now() - start; }
  qsort(seconds, repeats, sizeof(double), compare);
  printf("%.2f\n", 2.0 * n * n * n / seconds[repeats / 2] / 1e9);
  return 0;
}
