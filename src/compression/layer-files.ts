import { DoubleSparseError } from '../errors.js';
import { SafetensorsFile } from '../formats/safetensors/reader.js';
import type { Matrix } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';

/** A weight of a layer file and the Gram matrix of its inputs; layers with the same inputs share the Gram object. */
export interface Layer {
  /** Tensor name without `.weight`. */
  readonly name: string;
  readonly weight: Matrix;
  readonly gram: Matrix;
  readonly gramName: string;
}

/**
 * Reads every `NAME.weight` of a safetensors file that has a Gram matrix: the tensor named by the header metadata
 * (`NAME.weight` -> Gram tensor), else `NAME.gram`. In shared memory, fp32.
 * @throws DoubleSparseError of the reader; `unknown-name` when a weight has no Gram matrix or there is no weight.
 */
export function readLayers(path: string): Layer[] {
  const file = new SafetensorsFile(path);
  try {
    const grams = new Map<string, Matrix>();
    const names = [...file.header.tensors.keys()].filter((name) => name.endsWith('.weight')).sort(byNumbers);
    if (names.length === 0) {
      throw new DoubleSparseError('unknown-name', `${path} has no tensor named NAME.weight`, {
        data: { path, tensors: [...file.header.tensors.keys()].slice(0, 20) },
        hint: 'a layer file holds weights NAME.weight and Gram matrices NAME.gram',
      });
    }
    return names.map((weightName) => {
      const name = weightName.slice(0, -'.weight'.length);
      const gramName = file.header.metadata.get(weightName) ?? `${name}.gram`;
      if (!file.header.tensors.has(gramName)) {
        throw new DoubleSparseError('unknown-name', `${path}: ${weightName} has no Gram matrix ${gramName}`, {
          data: { path, weight: weightName, gram: gramName },
          hint: 'add the tensor, or name a shared one in the header metadata: "NAME.weight": "OTHER.gram"',
        });
      }
      const gram = grams.get(gramName) ?? file.readMatrix(gramName, sharedZeros);
      grams.set(gramName, gram);
      return { name, weight: file.readMatrix(weightName, sharedZeros), gram, gramName };
    });
  } finally {
    file.close();
  }
}

/** Numbers inside names order by value: layers.2 before layers.10. */
function byNumbers(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
