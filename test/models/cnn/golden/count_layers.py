"""
Counts what real-models.test.ts expects, with the onnx package and output shapes from onnxruntime.

    pip install onnx==1.23.2 onnxruntime==1.32.0 && python3 count_layers.py MODEL.onnx 1,3,64,96

Prints convolutions and products with a constant weight: their number, weights and multiply-adds; how many have a
constant bias, and a BatchNormalization right behind them; then the first three of grouped convolutions (all of them
depthwise in the test's models).
"""
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

path, shape = sys.argv[1], [int(size) for size in sys.argv[2].split(",")]
model = onnx.load(path)
constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
for node in model.graph.node:
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
layers = [n for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm") and n.input[1] in constants]
present = {output.name for output in model.graph.output}
names = [node.output[0] for node in layers]
model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
session = onnxruntime.InferenceSession(model.SerializeToString())
outputs = session.run(names, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
biases = normalizations = 0
totals = {False: [0, 0, 0], True: [0, 0, 0]}
for node, output in zip(layers, outputs):
    weight = constants[node.input[1]]
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    channels = weight.shape[0] if node.op_type == "Conv" else output.shape[-1]
    total = totals[groups > 1]
    total[0] += 1
    total[1] += weight.size
    total[2] += weight.size * (output.size // channels)
    if groups > 1:
        continue
    readers = [reader for reader in model.graph.node if node.output[0] in reader.input]
    behind = readers[0] if len(readers) == 1 and node.output[0] not in present else None
    if node.op_type == "MatMul":
        biases += behind is not None and behind.op_type == "Add" and any(name in constants for name in behind.input)
    else:
        biases += len(node.input) == 3
    normalizations += behind is not None and behind.op_type == "BatchNormalization"
print("layers %d, weights %d, multiply-adds %d" % tuple(totals[False]))
print("biases %d, BatchNormalizations behind %d" % (biases, normalizations))
print("grouped %d, weights %d, multiply-adds %d" % tuple(totals[True]))
