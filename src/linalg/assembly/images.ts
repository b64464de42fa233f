// Passes over images, positions x channels in fp32, of training and its derivatives. Pointers are byte addresses. The
// twins in src/training/kernels.ts are the specification.

/** target += source, or target = source. */
// @ts-ignore: decorator
@inline
function move(target: usize, source: usize, n: u32, add: bool): void {
  if (!add) {
    memory.copy(target, source, <usize>n << 2);
    return;
  }
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(target + at, f32x4.add(v128.load(target + at), v128.load(source + at)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(target + at, load<f32>(target + at) + load<f32>(source + at));
  }
}

/** Patches from the image (`scatter` false), or added back to it. Sizes of the two axes lie at `axes`, see kernels.ts. */
export function movePatches(
  image: usize,
  patches: usize,
  axes: usize,
  images: u32,
  columns: u32,
  first: u32,
  channels: u32,
  scatter: bool,
): void {
  const inputHeight = load<i32>(axes), outputHeight = load<i32>(axes, 4), kernelHeight = load<i32>(axes, 8);
  const strideHeight = load<i32>(axes, 12), dilationHeight = load<i32>(axes, 16), beginHeight = load<i32>(axes, 20);
  const inputWidth = load<i32>(axes, 24), outputWidth = load<i32>(axes, 28), kernelWidth = load<i32>(axes, 32);
  const strideWidth = load<i32>(axes, 36), dilationWidth = load<i32>(axes, 40), beginWidth = load<i32>(axes, 44);
  // Neighbours in the kernel are neighbours in the image.
  const together = dilationWidth == 1 && channels == columns;
  const lineBytes = <usize>kernelWidth * channels << 2;
  let patch = patches;
  for (let n: u32 = 0; n < images; n++) {
    const base = image + (<usize>n * inputHeight * inputWidth * columns << 2);
    for (let y = 0; y < outputHeight; y++) {
      for (let x = 0; x < outputWidth; x++) {
        const left = x * strideWidth - beginWidth;
        for (let ky = 0; ky < kernelHeight; ky++, patch += lineBytes) {
          const line = y * strideHeight - beginHeight + ky * dilationHeight;
          if (line < 0 || line >= inputHeight) continue;
          const row = base + (<usize>line * inputWidth * columns << 2);
          if (together) {
            const from = max<i32>(0, -left);
            const to = min<i32>(kernelWidth, inputWidth - left);
            if (from >= to) continue;
            const inImage = row + (<usize>(left + from) * columns << 2);
            const inPatch = patch + (<usize>from * channels << 2);
            const count = <u32>(to - from) * channels;
            if (scatter) move(inImage, inPatch, count, true);
            else move(inPatch, inImage, count, false);
            continue;
          }
          for (let kx = 0; kx < kernelWidth; kx++) {
            const column = left + kx * dilationWidth;
            if (column < 0 || column >= inputWidth) continue;
            const inImage = row + ((<usize>column * columns + first) << 2);
            const inPatch = patch + (<usize>kx * channels << 2);
            if (scatter) move(inImage, inPatch, channels, true);
            else move(inPatch, inImage, channels, false);
          }
        }
      }
    }
  }
}

export function scaleAndShift(target: usize, x: usize, factors: usize, offsets: usize, rows: u32, columns: u32): void {
  const end = columns & ~3;
  for (let row: u32 = 0; row < rows; row++) {
    const base = <usize>row * columns << 2;
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = <usize>j << 2;
      const scaled = f32x4.mul(v128.load(x + base + at), v128.load(factors + at));
      v128.store(target + base + at, f32x4.add(scaled, v128.load(offsets + at)));
    }
    for (; j < columns; j++) {
      const at = <usize>j << 2;
      store<f32>(target + base + at, load<f32>(x + base + at) * load<f32>(factors + at) + load<f32>(offsets + at));
    }
  }
}

export function scaleAndShiftBackward(
  toX: usize,
  gradient: usize,
  x: usize,
  factors: usize,
  toFactors: usize,
  toOffsets: usize,
  rows: u32,
  columns: u32,
): void {
  const end = columns & ~3;
  for (let row: u32 = 0; row < rows; row++) {
    const base = <usize>row * columns << 2;
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = <usize>j << 2;
      const g = v128.load(gradient + base + at);
      v128.store(toX + base + at, f32x4.add(v128.load(toX + base + at), f32x4.mul(g, v128.load(factors + at))));
      const product = f32x4.mul(g, v128.load(x + base + at));
      v128.store(toFactors + at, f32x4.add(v128.load(toFactors + at), product));
      v128.store(toOffsets + at, f32x4.add(v128.load(toOffsets + at), g));
    }
    for (; j < columns; j++) {
      const at = <usize>j << 2;
      const g = load<f32>(gradient + base + at);
      store<f32>(toX + base + at, load<f32>(toX + base + at) + g * load<f32>(factors + at));
      store<f32>(toFactors + at, load<f32>(toFactors + at) + g * load<f32>(x + base + at));
      store<f32>(toOffsets + at, load<f32>(toOffsets + at) + g);
    }
  }
}

export function relu(target: usize, x: usize, n: u32): void {
  const zero = f32x4.splat(0);
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(target + at, f32x4.max(v128.load(x + at), zero));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(target + at, max<f32>(load<f32>(x + at), 0));
  }
}

export function reluBackward(toX: usize, gradient: usize, result: usize, n: u32): void {
  const zero = f32x4.splat(0);
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    const passed = v128.and(v128.load(gradient + at), f32x4.gt(v128.load(result + at), zero));
    v128.store(toX + at, f32x4.add(v128.load(toX + at), passed));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    if (load<f32>(result + at) > 0) store<f32>(toX + at, load<f32>(toX + at) + load<f32>(gradient + at));
  }
}
