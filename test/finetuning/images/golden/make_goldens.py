"""Losses and gradients of a small network of images by PyTorch, in float64, stored in fp32.

usage: python3 make_goldens.py   (torch, safetensors)
"""
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
shapes = {
    "c1.weight": (6, 3, 3, 3), "c1.bias": (6,),
    "bn.scale": (6,), "bn.shift": (6,), "bn.mean": (6,), "bn.variance": (6,),
    "c2.weight": (6, 3, 3, 2), "c2.bias": (6,),
    "c3.weight": (6, 6, 1, 1),
    "fc.weight": (5, 24), "fc.bias": (5,),
}
tensors = {name: 0.5 * torch.randn(shape) for name, shape in shapes.items()}
tensors["bn.variance"] = tensors["bn.variance"].abs() + 0.3
tensors["images"] = torch.randn(4, 3, 9, 8)
tensors["teacher"] = torch.randn(4, 5)
tensors = {name: value.float().double() for name, value in tensors.items()}
labels = torch.tensor([1, 4, 0, 2])
fixed = {"bn.mean", "bn.variance", "images", "teacher"}
p = {name: value.clone().requires_grad_(name not in fixed) for name, value in tensors.items()}

x = F.conv2d(p["images"], p["c1.weight"], p["c1.bias"], stride=2, padding=1)  # 6 x 5 x 4
x = F.batch_norm(x, p["bn.mean"], p["bn.variance"], p["bn.scale"], p["bn.shift"], False, 0, 1e-5)
skip = F.relu(x)
x = F.conv2d(F.pad(skip, (1, 0, 2, 2)), p["c2.weight"], p["c2.bias"], dilation=(2, 1), groups=2)  # 6 x 5 x 4
x = x + F.conv2d(skip, p["c3.weight"])
x = F.max_pool2d(x, 3, stride=1, padding=1)
x = F.avg_pool2d(x, 2, stride=2, count_include_pad=False)  # 6 x 2 x 2
logits = F.linear(x.flatten(1), p["fc.weight"], p["fc.bias"])
share = 0.25
q = F.softmax(p["teacher"], 1)
cross_entropy = F.cross_entropy(logits, labels, reduction="sum")
divergence = F.kl_div(F.log_softmax(logits, 1), q, reduction="sum")
((1 - share) * cross_entropy + share * divergence).div(4).backward()

result = {name: value.float() for name, value in tensors.items()}
result |= {f"{name}.gradient": value.grad.float() for name, value in p.items() if value.grad is not None}
result["sums"] = torch.stack([cross_entropy, divergence]).detach().float()
result["logits"] = logits.detach().float()
save_file(result, "images.safetensors", metadata={"labels": str(labels.tolist()), "share": str(share)})
