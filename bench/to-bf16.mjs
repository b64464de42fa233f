// Writes a copy of a model folder (one safetensors file) with its fp16 tensors as bf16, for measurements alone: models
// are published in bf16, and what a GGUF file gives is fp16.
// usage: node bench/to-bf16.mjs FROM TO
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { decodeFloats, encodeFloats } from '../dist/formats/dtype.js';

const [from, to] = process.argv.slice(2);
cpSync(from, to, { recursive: true });
const file = readFileSync(`${from}/model.safetensors`);
const length = Number(file.readBigUInt64LE());
const header = JSON.parse(file.subarray(8, 8 + length).toString());
const data = file.subarray(8 + length);
for (const tensor of Object.values(header)) {
  if (tensor.dtype !== 'F16') continue;
  tensor.dtype = 'BF16';
  const bytes = data.subarray(...tensor.data_offsets);
  encodeFloats('BF16', decodeFloats('F16', bytes), bytes);
}
let text = JSON.stringify(header);
text += ' '.repeat((8 - (text.length % 8)) % 8);
const prefix = Buffer.alloc(8);
prefix.writeBigUInt64LE(BigInt(text.length));
writeFileSync(`${to}/model.safetensors`, Buffer.concat([prefix, Buffer.from(text), data]));
