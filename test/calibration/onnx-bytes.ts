import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

type Fields = readonly (readonly [number: number, value: number | string | Fields])[];

function write(writer: BinaryWriter, fields: Fields): BinaryWriter {
  for (const [number, value] of fields) {
    if (typeof value === 'number') writer.tag(number, WireType.Varint).int64(value);
    else if (typeof value === 'string') writer.tag(number, WireType.LengthDelimited).string(value);
    else write(writer.tag(number, WireType.LengthDelimited).fork(), value).join();
  }
  return writer;
}

/** Element types of onnx.proto. */
export const onnxTypes = { float: 1, int64: 7, string: 8, bool: 9, float16: 10, double: 11 } as const;
type OnnxType = keyof typeof onnxTypes;

const value = (name: string, type: OnnxType, dims: readonly (number | string)[]): Fields => [
  [1, name],
  [
    2,
    [
      [
        1,
        [
          [1, onnxTypes[type]],
          [2, dims.map((size) => [1, [[typeof size === 'number' ? 1 : 2, size]]] as const)],
        ],
      ],
    ],
  ],
];

export interface OneNode {
  operator: string;
  domain?: string;
  operatorSet?: number;
  from: OnnxType;
  to: OnnxType;
  dims: readonly (number | string)[];
  /** Of Cast. */
  castTo?: number;
}

/** An ONNX model of one node, x -> y, of one shape. */
export function oneNodeModel({ operator, domain = '', operatorSet = 13, from, to, dims, castTo }: OneNode): Uint8Array {
  const attribute: Fields = [
    [1, 'to'],
    [3, castTo ?? 0],
    [20, 2],
  ];
  const node: Fields = [
    [1, 'x'],
    [2, 'y'],
    [4, operator],
    [7, domain],
    ...(castTo === undefined ? [] : ([[5, attribute]] as const)),
  ];
  const operatorSets = [...new Set(['', domain])].map((each): readonly [number, Fields] => [
    8,
    [
      [1, each],
      [2, operatorSet],
    ],
  ]);
  const graph: Fields = [
    [1, node],
    [2, 'graph'],
    [11, value('x', from, dims)],
    [12, value('y', to, dims)],
  ];
  return write(new BinaryWriter(), [[1, 8], [7, graph], ...operatorSets]).finish();
}
