import type { ConvolutionGeometry } from '../../src/calibration/convolution-geometry.js';
import type { Tensor } from '../../src/calibration/tensor.js';

/**
 * A convolution by its definition, output by output, in 1-D or 2-D; empty when no output is left.
 * @param input N x C x sizes. @param weight out x C / groups x kernel.
 */
export function convolve(input: Tensor, weight: Tensor, geometry: ConvolutionGeometry, groups: number): Tensor {
  const [images, channels] = input.dims as [number, number];
  const sizes = input.dims.slice(2);
  const [outputs, perGroup] = weight.dims as [number, number];
  const n = sizes.length;
  const axes = sizes.map((size, at) => {
    const [kernel, stride, dilation] = [geometry.kernel[at]!, geometry.strides[at]!, geometry.dilations[at]!];
    const reach = (kernel - 1) * dilation + 1;
    let [begin, end] = geometry.autoPad === 'NOTSET' ? [geometry.pads[at]!, geometry.pads[at + n]!] : [0, 0];
    if (geometry.autoPad.startsWith('SAME')) {
      // As many outputs as strides fit into the input; an odd zero goes to the end for UPPER.
      while (Math.floor((size + begin + end - reach) / stride) + 1 < Math.ceil(size / stride)) {
        if ((begin === end) === (geometry.autoPad === 'SAME_UPPER')) end++;
        else begin++;
      }
    }
    return {
      size,
      kernel,
      stride,
      dilation,
      begin,
      output: Math.max(0, Math.floor((size + begin + end - reach) / stride) + 1),
    };
  });
  const [y, x] = n === 2 ? axes : [{ size: 1, kernel: 1, stride: 1, dilation: 1, begin: 0, output: 1 }, axes[0]];
  const data: number[] = [];
  for (let image = 0; image < images; image++)
    for (let out = 0; out < outputs; out++)
      for (let oy = 0; oy < y!.output; oy++)
        for (let ox = 0; ox < x!.output; ox++) {
          let sum = 0;
          for (let c = 0; c < perGroup; c++)
            for (let ky = 0; ky < y!.kernel; ky++)
              for (let kx = 0; kx < x!.kernel; kx++) {
                const iy = oy * y!.stride + ky * y!.dilation - y!.begin;
                const ix = ox * x!.stride + kx * x!.dilation - x!.begin;
                if (iy < 0 || iy >= y!.size || ix < 0 || ix >= x!.size) continue;
                const from = image * channels + Math.floor((out * groups) / outputs) * perGroup + c;
                sum +=
                  input.data[(from * y!.size + iy) * x!.size + ix]! *
                  weight.data[((out * perGroup + c) * y!.kernel + ky) * x!.kernel + kx]!;
              }
          data.push(sum);
        }
  return { dims: [images, outputs, ...axes.map(({ output }) => output)], data: Float32Array.from(data) };
}
