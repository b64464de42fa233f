// The inner loop of the wasm engine: c (4 x 8) = sum over p of a-panel column (4) x b-panel row (8).
// Panels are packed by ../engines/wasm.ts: a as inner x 4, b as inner x 8, both contiguous.

/** All micro-tiles of one packed block: rowTiles x columnTiles tiles into c, row stride `stride` floats, added if `accumulate`. */
export function multiplyPanels(a: usize, b: usize, c: usize, inner: u32, rowTiles: u32, columnTiles: u32, stride: u32, accumulate: bool): void {
  const aStep = (<usize>inner) * 16;
  const bStep = (<usize>inner) * 32;
  const rowBytes = (<usize>stride) << 2;
  for (let jt: u32 = 0; jt < columnTiles; jt++) {
    const bPanel = b + <usize>jt * bStep;
    for (let it: u32 = 0; it < rowTiles; it++) {
      const aPanel = a + <usize>it * aStep;
      const target = c + <usize>it * 4 * rowBytes + <usize>jt * 32;
      let c00 = f32x4.splat(0);
      let c01 = f32x4.splat(0);
      let c10 = f32x4.splat(0);
      let c11 = f32x4.splat(0);
      let c20 = f32x4.splat(0);
      let c21 = f32x4.splat(0);
      let c30 = f32x4.splat(0);
      let c31 = f32x4.splat(0);
      let pa = aPanel;
      let pb = bPanel;
      for (let p: u32 = 0; p < inner; p++) {
        const b0 = v128.load(pb);
        const b1 = v128.load(pb, 16);
        const a0 = v128.load32_splat(pa);
        c00 = f32x4.add(c00, f32x4.mul(a0, b0));
        c01 = f32x4.add(c01, f32x4.mul(a0, b1));
        const a1 = v128.load32_splat(pa, 4);
        c10 = f32x4.add(c10, f32x4.mul(a1, b0));
        c11 = f32x4.add(c11, f32x4.mul(a1, b1));
        const a2 = v128.load32_splat(pa, 8);
        c20 = f32x4.add(c20, f32x4.mul(a2, b0));
        c21 = f32x4.add(c21, f32x4.mul(a2, b1));
        const a3 = v128.load32_splat(pa, 12);
        c30 = f32x4.add(c30, f32x4.mul(a3, b0));
        c31 = f32x4.add(c31, f32x4.mul(a3, b1));
        pa += 16;
        pb += 32;
      }
      storeRow(target, c00, c01, accumulate);
      storeRow(target + rowBytes, c10, c11, accumulate);
      storeRow(target + 2 * rowBytes, c20, c21, accumulate);
      storeRow(target + 3 * rowBytes, c30, c31, accumulate);
    }
  }
}

// @ts-expect-error: decorator
@inline
function storeRow(at: usize, left: v128, right: v128, accumulate: bool): void {
  if (accumulate) {
    left = f32x4.add(left, v128.load(at));
    right = f32x4.add(right, v128.load(at, 16));
  }
  v128.store(at, left);
  v128.store(at, right, 16);
}
