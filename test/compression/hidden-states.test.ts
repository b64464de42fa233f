import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type KeptHiddenStates, keptHiddenStates, sequencesInMemory } from '../../src/compression/hidden-states.js';
import { DoubleSparseError } from '../../src/errors.js';
import { zeros } from '../../src/linalg/matrix.js';
import { fillRandom } from '../helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'dsf-hidden-states-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const shape = { sequences: 5, positions: 3, hiddenSize: 4 };
const bytesOfOne = 3 * 4 * 4;
const inMemory = Number.POSITIVE_INFINITY;
let files = 0;
const newPath = (): string => join(folder, `${files++}.safetensors`);

/** States of which sequence s is filled from seed s. */
function started(path: string, limit: number): KeptHiddenStates {
  const states = keptHiddenStates(path, shape, limit);
  states.start((sequence, target) => fillRandom(target.data, sequence + 1));
  return states;
}

/** A pass that adds one to every entry, as a block would. */
function pass(states: KeptHiddenStates): void {
  for (const { hidden } of states.batches(2, true))
    for (const { data } of hidden) data.set(data.map((value) => value + 1));
}

/** The memory of a batch is that of the next one too. */
function values(states: KeptHiddenStates): number[][] {
  const all: number[][] = [];
  for (const { hidden } of states.batches(2, false)) all.push(...hidden.map(({ data }) => [...data]));
  return all;
}

describe.each([
  ['in memory', inMemory],
  ['two at a time', 0],
  ['four at a time', 4 * bytesOfOne],
])('hidden states %s', (_name, limit) => {
  it('pass through blocks, are kept and found again, and give the same file', () => {
    const path = newPath();
    const states = started(path, limit);
    pass(states);
    pass(states);
    expect(states.blocks).toBe(2);
    states.save();
    states.close();
    const expected = Array.from({ length: 5 }, (_, s) =>
      Array.from(fillRandom(zeros(3, 4).data, s + 1), (value) => Math.fround(Math.fround(value + 1) + 1)),
    );
    for (const other of [inMemory, 0]) {
      const again = keptHiddenStates(path, shape, other);
      expect(again.restore(2)).toBe(true);
      expect(again.blocks).toBe(2);
      expect(values(again)).toEqual(expected);
    }
    const reference = newPath();
    const plain = started(reference, inMemory);
    pass(plain);
    pass(plain);
    plain.save();
    expect(readFileSync(path).equals(readFileSync(reference))).toBe(true);
  });

  it('are not taken from behind more blocks than are finished', () => {
    const path = newPath();
    const states = started(path, limit);
    pass(states);
    states.save();
    const again = keptHiddenStates(path, shape, limit);
    expect(again.restore(0)).toBe(false);
    expect(again.blocks).toBe(0);
    expect(again.restore(1)).toBe(true);
  });

  it('keep the older file until they are saved, whatever stops a pass', () => {
    const path = newPath();
    const states = started(path, limit);
    pass(states);
    states.save();
    const before = readFileSync(path);
    const stopped = (): void => {
      for (const { hidden } of states.batches(2, true)) {
        hidden[0]?.data.fill(0);
        throw new Error('stopped');
      }
    };
    expect(stopped).toThrow('stopped');
    expect(states.blocks).toBe(1);
    pass(states);
    states.close();
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(folder).filter((name) => name.endsWith('.dsf-tmp'))).toEqual([]);
  });

  it('refuse a damaged file', () => {
    const path = newPath();
    const states = started(path, limit);
    pass(states);
    states.save();
    states.close();
    writeFileSync(path, readFileSync(path).subarray(0, -7));
    expect(() => keptHiddenStates(path, shape, limit).restore(1)).toThrow(DoubleSparseError);
  });
});

describe('batches', () => {
  it('hold all sequences once, in order, in multiples of the lanes, within the limit', () => {
    const settings = fc.record({
      sequences: fc.integer({ min: 1, max: 40 }),
      lanes: fc.integer({ min: 1, max: 8 }),
      room: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(settings, ({ sequences, lanes: wanted, room }) => {
        const lanes = Math.min(wanted, sequences);
        const own = { sequences, positions: 1, hiddenSize: 1 };
        const states = keptHiddenStates(join(folder, 'property.safetensors'), own, 4 * room);
        states.start((sequence, { data }) => data.fill(sequence));
        let next = 0;
        for (const { first, hidden } of states.batches(lanes, false)) {
          expect(first).toBe(next);
          expect(hidden.map(({ data }) => data[0])).toEqual(hidden.map((_, i) => first + i));
          next += hidden.length;
          if (next < sequences) expect(hidden.length % lanes).toBe(0);
          expect(hidden.length).toBeLessThanOrEqual(Math.max(lanes, room));
        }
        expect(next).toBe(sequences);
        expect(sequencesInMemory(own, 4 * room, lanes)).toBeLessThanOrEqual(Math.max(lanes, room));
        states.close();
      }),
      { numRuns: 60 },
    );
    expect(existsSync(join(folder, 'property.safetensors'))).toBe(true);
  });
});
