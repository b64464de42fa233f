#!/usr/bin/env python3
"""Convolutions by PyTorch: inputs, weights, outputs, and the moments of the unfolded patches, for patch-gram.test.ts.

usage: make_patch_goldens.py      writes patches.safetensors beside this file
needs: pip install torch==2.15.0 safetensors
Moments are taken in float64 of what torch.nn.functional.unfold gives.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import conv1d, conv2d, pad, unfold

HERE = pathlib.Path(__file__).parent
generator = torch.Generator().manual_seed(0)


def case(dims, outputs, kernel, strides=None, dilations=None, pads=None, groups=1, auto_pad="NOTSET", real_pads=None):
    """pads and auto_pad as ONNX states them; real_pads what they come to (begins, then ends)."""
    n = len(kernel)
    geometry = dict(kernel=kernel, strides=strides or [1] * n, dilations=dilations or [1] * n,
                    pads=pads or [0] * (2 * n), autoPad=auto_pad)
    return dict(dims=dims, outputs=outputs, groups=groups, geometry=geometry, real_pads=real_pads or geometry["pads"])


CASES = {
    "3x3": case([2, 3, 6, 7], 4, [3, 3], pads=[1, 1, 1, 1]),
    "1x1": case([3, 5, 4, 4], 6, [1, 1]),
    "strides": case([2, 2, 9, 8], 3, [3, 2], strides=[2, 3], pads=[1, 0, 1, 0]),
    "dilations, uneven pads": case([2, 2, 9, 10], 3, [3, 3], dilations=[2, 1], pads=[2, 0, 1, 3]),
    "groups": case([2, 6, 5, 5], 4, [3, 3], pads=[1, 1, 1, 1], groups=2),
    "depthwise": case([2, 4, 6, 6], 4, [3, 3], strides=[2, 2], pads=[1, 1, 1, 1], groups=4),
    "same upper": case([1, 2, 7, 8], 3, [4, 3], strides=[2, 2], auto_pad="SAME_UPPER", real_pads=[1, 0, 2, 1]),
    "same lower": case([1, 2, 7, 8], 3, [4, 3], strides=[2, 2], auto_pad="SAME_LOWER", real_pads=[2, 1, 1, 0]),
    "valid": case([1, 2, 7, 8], 3, [4, 3], auto_pad="VALID"),
    "1-D": case([2, 3, 17], 4, [5], strides=[2], dilations=[2], pads=[3, 1]),
}

tensors, described = {}, {}
for name, each in CASES.items():
    geometry, groups = each["geometry"], each["groups"]
    n = len(geometry["kernel"])
    x = torch.randn(each["dims"], generator=generator)
    w = torch.randn([each["outputs"], each["dims"][1] // groups, *geometry["kernel"]], generator=generator)
    begins, ends = each["real_pads"][:n], each["real_pads"][n:]
    padded = pad(x, [side for pair in reversed(list(zip(begins, ends))) for side in pair])
    conv = conv1d if n == 1 else conv2d
    y = conv(padded, w, stride=geometry["strides"], dilation=geometry["dilations"], groups=groups)
    flat = padded if n == 2 else padded[:, :, None]
    two = (lambda values: values) if n == 2 else (lambda values: [1, *values])
    columns = unfold(flat, two(geometry["kernel"]), two(geometry["dilations"]), 0, two(geometry["strides"])).double()
    # images x in x positions -> groups x in x (images * positions)
    patches = columns.transpose(0, 1).reshape(groups, columns.shape[1] // groups, -1)
    count = patches.shape[2]
    tensors.update({
        f"{name}/input": x,
        f"{name}/weight": w,
        f"{name}/output": y,
        f"{name}/gram": (patches @ patches.transpose(1, 2) / count).float(),
        f"{name}/mean": patches.mean(dim=2).float(),
    })
    described[name] = dict(geometry=geometry, groups=groups, channels=each["dims"][1], count=count)
save_file({key: value.contiguous() for key, value in tensors.items()}, HERE / "patches.safetensors",
          metadata={"cases": json.dumps(described)})
(HERE / "patches.safetensors").chmod(0o644)
