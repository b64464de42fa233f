"""
Tensors of every float type in every field that ONNX allows, and what the onnx package reads from them.

    pip install onnx==1.23.2 && python3 make_goldens.py

Writes, beside itself, tensors.onnx, tensors-external.onnx with its data file, and tensors.json (values as numbers: all
are exact in fp32, so the tests allow no difference).
"""
import json
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

here = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(0)
# Exact in bf16, the type with the fewest bits; with both zeros, a subnormal fp16 number and the largest ones.
values = np.concatenate([random.integers(-128, 128, 18) / 32, [0.0, -0.0, 2.0**-24, 65280.0, -65280.0, 1.0]])
shape = (2, 3, 4)
types = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16, "bfloat": TensorProto.BFLOAT16, "double": TensorProto.DOUBLE}
tensors, expected = [], {}
for name, data_type in types.items():
    typed = helper.make_tensor(f"{name}.typed", data_type, shape, values)
    assert not typed.HasField("raw_data")
    exact = numpy_helper.to_array(typed)
    raw = helper.make_tensor(f"{name}.raw", data_type, shape, exact.tobytes(), raw=True)
    for tensor in (typed, raw):
        tensors.append(tensor)
        expected[tensor.name] = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1).tolist()
scalar = helper.make_tensor("scalar", TensorProto.FLOAT, [], [1.5])
empty = helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], [])
integers = helper.make_tensor("integers", TensorProto.INT64, [3], [-1, 0, 2**40])
large = numpy_helper.from_array(random.integers(-128, 128, (40, 30)).astype(np.float32) / 32, "large")
tensors += [scalar, empty, integers, large]
for tensor in (scalar, empty, large):
    expected[tensor.name] = numpy_helper.to_array(tensor).astype(np.float64).reshape(-1).tolist()

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "tensors", [x], [y], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, os.path.join(here, "tensors.onnx"))
data = "tensors-external.onnx.data"
if os.path.exists(os.path.join(here, data)):
    os.remove(os.path.join(here, data))
onnx.save(model, os.path.join(here, "tensors-external.onnx"), save_as_external_data=True, location=data, size_threshold=16)
with open(os.path.join(here, "tensors.json"), "w") as file:
    json.dump(expected, file)
    file.write("\n")
