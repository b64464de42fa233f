import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ContainerWriter, planProduct } from '../../../src/formats/container/writer.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { findNativeLibrary } from '../../../src/linalg/engines/native.js';
import { chooseEngine, createEngine } from '../../../src/linalg/engines/select.js';
import { parseLlamaConfig } from '../../../src/models/llama/config.js';
import { openModel } from '../../../src/models/llama/open-model.js';
import { blockTensor, linearShape } from '../../../src/models/llama/tensors.js';
import { root } from '../../cli/run-dsf.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { sparseMatrix } from '../../formats/tiny-model.js';

const inner = 256;
const module = 'self_attn.o_proj';

function writeCompressed(): string {
  const path = join(temporaryFolder(), 'compressed');
  const source = new SafetensorsCheckpoint(join(root, 'models/sotu-m'));
  const [rows, columns] = linearShape(parseLlamaConfig(source.config), module);
  const factors = [sparseMatrix(rows, inner, 1), sparseMatrix(inner, columns, 2)].map((factor) => ({
    ...factor,
    // Sums of products of these are rounded.
    data: factor.data.map((value, i) => value * Math.sqrt(1 + (i % 89))),
  }));
  const writer = new ContainerWriter(
    path,
    source,
    [planProduct(module, factors, [{ weight: blockTensor(0, module), rows }])],
    {},
  );
  writer.writeProduct(module, factors);
  writer.finish();
  return path;
}

// Products of these shapes by OpenBLAS 0.3.21 with two threads differ from those with one in the last bits.
test.skipIf(!findNativeLibrary())(
  'expanded weights do not depend on what set the number of BLAS threads before',
  () => {
    const path = writeCompressed();
    // Measures engines with one thread, once.
    chooseEngine();
    const expanded = (threads: number): Float32Array => {
      const model = openModel(path, chooseEngine('native'));
      createEngine('native').setThreads(threads);
      const { data } = model.readBlock(0).linear[module].weight;
      model.checkpoint.close();
      return data;
    };
    expect(expanded(2)).toEqual(expanded(1));
  },
);
