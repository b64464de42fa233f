import { describe, expect, it, vi } from 'vitest';
import { Arena } from '../../src/linalg/arena.js';
import { randomMatrix } from '../helpers.js';

const full = (arena: Arena) =>
  vi.spyOn(arena.memory, 'grow').mockImplementation(() => {
    throw new RangeError('no more pages');
  });

describe('scopes', () => {
  it('give their memory back, and it comes back as zeros', () => {
    const arena = new Arena();
    const before = arena.vector(3).fill(1);
    const first = arena.scope(() => arena.vector(10).fill(7));
    const second = arena.vector(10);
    expect(second.byteOffset).toBe(first.byteOffset);
    expect([...second]).toEqual(Array(10).fill(0));
    expect([...before]).toEqual([1, 1, 1]);
  });

  it('nest', () => {
    const arena = new Arena();
    arena.scope(() => {
      const outer = arena.vector(5).fill(1);
      const inner = arena.scope(() => arena.vector(5).fill(2));
      const next = arena.vector(5).fill(3);
      expect(next.byteOffset).toBe(inner.byteOffset);
      expect([...outer]).toEqual([1, 1, 1, 1, 1]);
    });
  });

  it('return what the work returns, and release what a failing one took', () => {
    const arena = new Arena();
    expect(arena.scope(() => 42)).toBe(42);
    let taken = 0;
    const failing = () =>
      arena.scope(() => {
        taken = arena.vector(100).byteOffset;
        throw new Error('on purpose');
      });
    expect(failing).toThrow('on purpose');
    expect(arena.vector(1).byteOffset).toBe(taken);
  });
});

describe('memory', () => {
  it('is aligned to cache lines and does not overlap', () => {
    const arena = new Arena();
    const arrays = [1, 17, 0, 16, 33].map((length) => arena.vector(length));
    let end = 0;
    for (const array of arrays) {
      expect(array.byteOffset % 64).toBe(0);
      expect(array.byteOffset).toBeGreaterThanOrEqual(end);
      end = array.byteOffset + array.byteLength;
    }
  });

  it('grows without moving: old views stay valid and owned', () => {
    const arena = new Arena();
    const old = arena.vector(4).fill(1);
    arena.vector(1 << 20);
    expect(arena.memory.buffer).not.toBe(old.buffer);
    const sameBytes = new Float32Array(arena.memory.buffer, old.byteOffset, old.length);
    old[2] = 5;
    expect([...sameBytes]).toEqual([1, 1, 5, 1]);
    sameBytes[3] = 6;
    expect([...old]).toEqual([1, 1, 5, 6]);
    expect(arena.owns(old)).toBe(true);
    expect(arena.owns(sameBytes)).toBe(true);
    expect(arena.owns(new Uint32Array(old.buffer, old.byteOffset, 4))).toBe(true);
  });

  it('of others is not owned; adopt copies it once', () => {
    const arena = new Arena();
    const foreign = randomMatrix(3, 4, 1, 'shared');
    expect(arena.owns(foreign.data)).toBe(false);
    expect(arena.owns(new Arena().vector(2))).toBe(false);
    const adopted = arena.adopt(foreign);
    expect(arena.owns(adopted.data)).toBe(true);
    expect(adopted).toMatchObject({ rows: 3, columns: 4 });
    expect(adopted.data).toHaveSameBits(foreign.data);
    expect(arena.adopt(adopted)).toBe(adopted);
  });

  it('beyond what WebAssembly can address is an array of its own', () => {
    const arena = new Arena();
    const grow = full(arena);
    const outside = arena.scope(() => arena.vector(1 << 20));
    grow.mockRestore();
    expect(outside).toHaveLength(1 << 20);
    expect(outside.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(outside.every((value) => value === 0)).toBe(true);
    expect(arena.owns(outside)).toBe(false);
    expect(arena.owns(arena.vector(8))).toBe(true);
  });

  it('that nobody has is an error that says how much', () => {
    const arena = new Arena();
    expect(() => arena.vector(2 ** 50)).toThrowError(
      expect.objectContaining({ code: 'out-of-memory', data: { bytes: 2 ** 52 } }),
    );
  });

  it('peakBytes remembers the most in use at one time, outside included', () => {
    const arena = new Arena();
    const start = arena.vector(0).byteOffset;
    arena.scope(() => arena.vector(1000));
    arena.scope(() => arena.vector(500));
    expect(arena.peakBytes - start).toBe(4032);
    const grow = full(arena);
    arena.scope(() => arena.vector(1 << 20));
    arena.scope(() => arena.vector(1 << 20));
    grow.mockRestore();
    expect(arena.peakBytes - start).toBe(4 << 20);
  });
});
