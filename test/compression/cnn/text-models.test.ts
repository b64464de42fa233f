import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ImageModel } from '../../../src/calibration/image-model.js';
import { imageBatches } from '../../../src/calibration/images/image-batches.js';
import { openImages } from '../../../src/calibration/images/open-images.js';
import { compressOnnx } from '../../../src/compression/cnn/compress-onnx.js';
import { cnnCompressOptionsSchema } from '../../../src/compression/cnn/options.js';
import { evaluateImages } from '../../../src/evaluation/evaluate-images.js';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { inspectOnnx } from '../../../src/report/onnx-inspection.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import '../../helpers.js';
import { rapidocrFolder, rapidocrModels } from '../../rapidocr-fixture.js';
import { fontsFolder } from '../../text-lines/fonts-fixture.js';
import { characterAccuracy, preprocessing, readAlphabet, readImages } from '../../text-lines/read.js';
import { renderLines, renderPages } from '../../text-lines/render.js';

const slow = process.env.DSF_SLOW_TESTS === 'all';
/** Images to calibrate on, and lines to read. */
const [calibrationImages, testImages] = slow ? [64, 200] : [16, 40];
const options = cnnCompressOptionsSchema.parse(
  slow
    ? { sparsity: 0.5, method: 'double-sparse', effort: 'default', allocate: 'uniform' }
    : { sparsity: 0.5, method: 'double-sparse', allocate: 'uniform', sequential: 'dense', effort: 'fast' },
);

const [models, fonts] = [rapidocrFolder(), fontsFolder()];
const reason = models.reason ?? fonts.reason;
if (reason !== undefined) console.log(`skipped: ${reason}`);
const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
let texts: string[];

interface TextModel {
  readonly name: string;
  readonly file: string;
  /** Folders of images. */
  readonly calibration: string;
  readonly test: string;
  readonly resize?: [number, number];
  readonly inputShape: readonly number[];
  readonly kept: number;
  /** Least cosine of the outputs to those of the dense model. */
  readonly cosine: number;
  /** The file is smaller than this part of the source; a third of the orientation model is names and operators. */
  readonly part: number;
}

const textModels: readonly TextModel[] = [
  {
    name: 'detection',
    file: rapidocrModels.detection,
    calibration: 'pages',
    test: 'test-pages',
    inputShape: [1, 3, 256, 416],
    kept: 16,
    cosine: slow ? 0.99 : 0.98,
    part: 0.65,
  },
  {
    name: 'orientation',
    file: rapidocrModels.orientation,
    calibration: 'lines',
    test: 'test-lines',
    resize: [48, 192],
    inputShape: [1, 3, 48, 192],
    kept: 11,
    cosine: 0.98,
    part: 0.8,
  },
  {
    name: 'recognition',
    file: rapidocrModels.recognition,
    calibration: 'lines',
    test: 'test-lines',
    inputShape: [1, 3, 48, 400],
    kept: 14,
    cosine: slow ? 0.97 : 0.93,
    part: 0.6,
  },
];

describe.skipIf(reason !== undefined)('three models that read text, at sparsity 0.5', () => {
  beforeAll(async () => {
    await renderLines(calibrationImages, 2, fonts.path!, at('lines'));
    texts = await renderLines(testImages, 1, fonts.path!, at('test-lines'));
    await renderPages(calibrationImages / 2, 3, fonts.path!, at('pages'));
    await renderPages(8, 4, fonts.path!, at('test-pages'));
  }, 60_000);

  test.each(textModels)('$name', { timeout: slow ? 1_800_000 : 300_000 }, async (each) => {
    const path = join(models.path!, each.file);
    const dense = openOnnx(path);
    const out = at(`${each.name}.onnx`);
    const prepared = { ...preprocessing, ...(each.resize && { resize: each.resize }) };
    const source = openImages(at(each.calibration));
    const result = await compressOnnx(dense, { source, preprocessing: prepared }, out, options);
    expect(result.nonzeros).toBeLessThanOrEqual(0.5 * result.entries);
    expect(result.kept).toHaveLength(each.kept);
    for (const { reason: why } of result.kept) expect(why).toMatch(/depthwise|transposed convolutions/);

    const written = openOnnx(out);
    const inspection = await inspectOnnx(written, each.inputShape);
    expect(inspection.nonzeros).toBeLessThanOrEqual(0.51 * result.entries);
    expect(inspection.fileBytes).toBeLessThan(each.part * statSync(path).size);
    const images = openImages(at(each.test));
    const evaluation = await evaluateImages(written, images, {
      preprocessing: prepared,
      against: dense,
      batchSize: 8,
      threads: 2,
    });
    const [parity] = Object.values(evaluation.parity!);
    console.log(
      `${each.name}: cosine ${parity!.cosine.toFixed(5)}, ${inspection.fileBytes} of ${statSync(path).size} bytes, ${result.seconds.toFixed(0)} s`,
    );
    expect(parity!.cosine).toBeGreaterThan(each.cosine);
    if (each.name === 'recognition') {
      const alphabet = readAlphabet(path);
      const [before, after] = [
        characterAccuracy(texts, await readImages(dense, at(each.test), alphabet)),
        characterAccuracy(texts, await readImages(written, at(each.test), alphabet)),
      ];
      console.log(`character accuracy ${before.toFixed(4)} dense, ${after.toFixed(4)} compressed`);
      expect(before).toBeGreaterThan(0.95);
      expect(after).toBeGreaterThan(before - 0.02);
    }
    await samePython(out, written, each.test, prepared);
  });
});

/** Python's onnxruntime, where it is installed, gives what this one does. */
async function samePython(
  path: string,
  model: ReturnType<typeof openOnnx>,
  images: string,
  prepared: typeof preprocessing,
): Promise<void> {
  const present = spawnSync('python3', ['-c', 'import onnxruntime']);
  if (present.status !== 0) {
    console.log('Python has no onnxruntime: not compared with it');
    return;
  }
  const source = openImages(at(images));
  const batch = (await imageBatches(source, [0, 1], { preprocessing: prepared }).next()).value!;
  const opened = await ImageModel.open(model, { layout: 'nchw' });
  const [expected] = Object.values(await opened.run(batch.images));
  await opened.close();
  const { dims, data } = batch.images;
  writeFileSync(at('input'), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const script = join(import.meta.dirname, 'run_onnx.py');
  const run = spawnSync('python3', [script, path, at('input'), at('output'), ...dims.map(String)], {
    encoding: 'utf8',
  });
  expect(run.stderr).not.toContain('Traceback');
  const bytes = readFileSync(at('output'));
  const actual = new Float32Array(Uint8Array.from(bytes).buffer);
  // Both may come from other versions with other kernels; outputs are probabilities.
  expect(actual).toBeAllclose(expected!.data, { atol: 1e-4 });
}
