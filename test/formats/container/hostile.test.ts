import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CompressedCheckpoint } from '../../../src/formats/container/checkpoint.js';
import { ContainerWriter, planProduct } from '../../../src/formats/container/writer.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../expect-error.js';
import { mutationsOf } from '../mutations.js';
import { temporaryFolder } from '../temporary-folder.js';
import { sparseMatrix, writeTinyModel } from '../tiny-model.js';

const folder = temporaryFolder();
const name = 'model.layers.0.self_attn.qkv';
const source = new SafetensorsCheckpoint(writeTinyModel(join(folder, 'source')));
const good = join(folder, 'good');
{
  const factors = [sparseMatrix(40, 15, 1), sparseMatrix(15, 20, 2)];
  const members = ['q', 'k', 'v'].map((letter, i) => ({
    weight: `model.layers.0.self_attn.${letter}_proj.weight`,
    rows: [20, 10, 10][i]!,
  }));
  const writer = new ContainerWriter(good, source, [planProduct(name, factors, members)]);
  writer.writeProduct(name, factors);
  writer.finish();
}
const bytes = readFileSync(join(good, 'model.safetensors'));
const headerLength = Number(bytes.readBigUInt64LE(0));
const data = bytes.subarray(8 + headerLength);
type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
type Header = Record<string, Entry> & { __metadata__: Record<string, string> };
interface Description {
  version: unknown;
  products: {
    name: string;
    factors: { name: string; shape: number[] }[];
    members: { weight: string; rows: number; values: number }[];
  }[];
}

const bad = join(folder, 'bad');
mkdirSync(bad);
cpSync(good, bad, { recursive: true });

function openAll(): void {
  const checkpoint = openCheckpoint(bad) as CompressedCheckpoint;
  try {
    for (const tensor of checkpoint.tensors.keys()) checkpoint.read(tensor);
    checkpoint.verify();
  } finally {
    checkpoint.close();
  }
}

function withBytes(content: Uint8Array, action: () => void): void {
  writeFileSync(join(bad, 'model.safetensors'), content);
  try {
    action();
  } finally {
    writeFileSync(join(bad, 'model.safetensors'), bytes);
  }
}

/** The file with another header; `edit` also gets what the metadata describe. */
function edited(edit: (header: Header, description: Description, data: Buffer) => unknown): Buffer {
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString()) as Header;
  const description = JSON.parse(header.__metadata__.double_sparse!) as Description;
  const copy = Buffer.from(data);
  const text = edit(header, description, copy);
  header.__metadata__.double_sparse = typeof text === 'string' ? text : JSON.stringify(description);
  const json = Buffer.from(JSON.stringify(header));
  return Buffer.concat([Buffer.from(new BigUint64Array([BigInt(json.byteLength)]).buffer), json, copy]);
}

test('the model that is damaged below is valid', () => {
  withBytes(
    edited(() => undefined),
    openAll,
  );
});

test('cut anywhere, it is malformed', () => {
  for (let end = 0; end < bytes.byteLength; end += end < 8 + headerLength ? 7 : 61)
    withBytes(bytes.subarray(0, end), () => errorOf(openAll, 'file-malformed'));
});

test('damaged anyhow, there are only typed errors and little memory is taken', { timeout: 60_000 }, () => {
  withBoundedMemory(() => {
    fc.assert(
      fc.property(mutationsOf(bytes), (content) => withBytes(content, () => onlyTypedErrors(openAll))),
      { numRuns: 500 },
    );
  });
});

test.each<[string, (header: Header, description: Description, data: Buffer) => unknown, string]>([
  ['no products', (_, description) => Object.assign(description, { products: [] }), 'no file describes'],
  ['no JSON', () => '{', 'not JSON'],
  ['too deep', () => '['.repeat(50), 'levels'],
  ['no object', () => '[]', 'version'],
  ['a field that is not known', (_, description) => Object.assign(description, { extra: 1 }), 'extra'],
  ['a product twice', (_, { products }) => products.push(products[0]!), 'comes twice'],
  ['a factor named C', (_, { products }) => Object.assign(products[0]!.factors[1]!, { name: 'C' }), 'name'],
  ['factors in reverse', (_, { products }) => products[0]!.factors.reverse(), 'factors are A'],
  ['three factors', (_, { products }) => products[0]!.factors.push({ name: 'B', shape: [1, 1] }), 'factors'],
  [
    'a factor of 2^40 rows',
    (_, { products }) => Object.assign(products[0]!.factors[0]!, { shape: [2 ** 40, 15] }),
    'shape',
  ],
  [
    'a shape that is not that of the bitmask',
    (_, { products }) => Object.assign(products[0]!.factors[0]!, { shape: [41, 15] }),
    'bitmask',
  ],
  [
    'inner dimensions that differ',
    (_, { products }) => Object.assign(products[0]!.factors[1]!, { shape: [16, 20] }),
    'A has shape',
  ],
  [
    'more columns than the bitmask',
    (_, { products }) => Object.assign(products[0]!.factors[1]!, { shape: [15, 25] }),
    'bitmask',
  ],
  [
    'fewer columns than the bitmask',
    (_, { products }) => Object.assign(products[0]!.factors[1]!, { shape: [15, 17] }),
    'beyond column 17',
  ],
  ['members with more rows', (_, { products }) => Object.assign(products[0]!.members[0]!, { rows: 21 }), 'members 41'],
  [
    'members with fewer values',
    (_, { products }) => Object.assign(products[0]!.members[0]!, { values: 1 }),
    'its members',
  ],
  [
    'a value that belongs to another member',
    (_, { products }) => {
      products[0]!.members[0]!.values++;
      products[0]!.members[1]!.values--;
    },
    'bits, there are',
  ],
  [
    'a member twice',
    (_, { products }) => Object.assign(products[0]!.members[1]!, { weight: products[0]!.members[0]!.weight }),
    'two products',
  ],
  [
    'a member that is there dense',
    (_, { products }) => Object.assign(products[0]!.members[1]!, { weight: 'model.norm.weight' }),
    'both dense and compressed',
  ],
  [
    'a factor that is not described',
    (header) => Object.assign(header, { 'x.A.values': header[`${name}.A.values`] }),
    'overlap',
  ],
  [
    'a factor under another name',
    (header) => {
      header['x.A.values'] = header[`${name}.A.values`]!;
      delete header[`${name}.A.values`];
    },
    'is missing',
  ],
  ['a bitmask of another type', (header) => Object.assign(header[`${name}.A.bitmask`]!, { dtype: 'I8' }), 'not U8'],
  [
    'values in two dimensions',
    (header) => {
      const entry = header[`${name}.A.values`]!;
      entry.shape = [1, entry.shape[0]!];
    },
    'for a matrix of',
  ],
  ['values of another type', (header) => Object.assign(header[`${name}.A.values`]!, { dtype: 'F16' }), 'of types'],
  [
    'a bit more',
    (header, _, content) => {
      const at = header[`${name}.B.bitmask`]!.data_offsets[0];
      content[at] = content[at] === 0xff ? 0xfe : 0xff;
    },
    'bits, there are',
  ],
  [
    'a bit beyond the last column',
    (header, _, content) => {
      const [from] = header[`${name}.B.bitmask`]!.data_offsets;
      for (let bit = 0; bit < 8; bit++) {
        if (content[from]! & (1 << bit)) {
          content[from] = content[from]! & ~(1 << bit);
          content[from + 2] = content[from + 2]! | 0x80;
          return;
        }
      }
    },
    'beyond column 20',
  ],
])('%s is malformed', (_, edit, named) => {
  withBytes(edited(edit), () => expect(errorOf(openAll, 'file-malformed').message).toContain(named));
});

test('an undescribed factor is noticed', () => {
  const content = edited((header) => {
    const end = data.byteLength;
    Object.assign(header, { 'x.B.bitmask': { dtype: 'U8', shape: [4], data_offsets: [end, end + 4] } });
  });
  withBytes(Buffer.concat([content, Buffer.alloc(4)]), () =>
    expect(errorOf(openAll, 'file-malformed').message).toContain('belongs to no product'),
  );
});

test('a value that is not finite is found by verification', () => {
  const content = edited((header, _, copy) => copy.writeUInt16LE(0x7fc0, header[`${name}.A.values`]!.data_offsets[0]));
  withBytes(content, () => errorOf(openAll, 'non-finite-value'));
});

test('a small file that claims a product of terabytes is refused', () => {
  const rows = 2 ** 21;
  const columns = 2 ** 20;
  const tensors: [string, string, number[], number][] = [
    ['p.A.values', 'F16', [0], 0],
    ['p.B.values', 'F16', [0], 0],
    ['p.A.bitmask', 'U8', [rows, 1], rows],
    ['p.B.bitmask', 'U8', [1, columns / 8], columns / 8],
  ];
  let position = 0;
  const header: Record<string, unknown> = {};
  for (const [tensor, dtype, shape, size] of tensors) {
    header[tensor] = { dtype, shape, data_offsets: [position, position + size] };
    position += size;
  }
  const factors = [
    { name: 'A', shape: [rows, 1] },
    { name: 'B', shape: [1, columns] },
  ];
  const products = [{ name: 'p', factors, members: [{ weight: 'p.weight', rows, values: 0 }] }];
  header.__metadata__ = { double_sparse: JSON.stringify({ version: 1, products }) };
  const json = Buffer.from(JSON.stringify(header));
  const content = Buffer.concat([
    Buffer.from(new BigUint64Array([BigInt(json.byteLength)]).buffer),
    json,
    Buffer.alloc(position),
  ]);
  withBoundedMemory(() => {
    withBytes(content, () => expect(errorOf(openAll, 'file-malformed').message).toContain('claim to be a matrix of'));
  });
});

test('other versions and methods are refused by name', () => {
  const newer = edited((_, description) => Object.assign(description, { version: 2 }));
  withBytes(newer, () => expect(errorOf(openAll, 'file-unsupported').message).toContain('version 2'));
  const config = JSON.parse(readFileSync(join(good, 'config.json'), 'utf8'));
  const reopen = (quantization: unknown) => {
    writeFileSync(join(bad, 'config.json'), JSON.stringify({ ...config, quantization_config: quantization }));
    openAll();
  };
  errorOf(() => reopen({ quant_method: 'double-sparse', version: 2 }), 'file-unsupported');
  errorOf(() => reopen({ quant_method: 'double-sparse' }), 'file-malformed');
  errorOf(() => reopen({ quant_method: 'double-sparse', version: 1 }), 'file-malformed');
  errorOf(() => reopen({ quant_method: 'double-sparse', version: 1, source: [] }), 'file-malformed');
  errorOf(() => reopen({ quant_method: 'triple-sparse', version: 1 }), 'file-unsupported');
  errorOf(() => new CompressedCheckpoint(source.path), 'file-unsupported');
  rmSync(join(bad, 'config.json'));
  errorOf(openAll, 'not-found');
});
