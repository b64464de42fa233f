"""Runs an ONNX model with Python's onnxruntime: MODEL INPUT OUTPUT SIZE..., files of little-endian fp32."""

import sys

import numpy as np
import onnxruntime

model, source, target, *shape = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
images = np.fromfile(source, dtype="<f4").reshape([int(size) for size in shape])
(output,) = session.run(None, {session.get_inputs()[0].name: images})
output.astype("<f4").tofile(target)
