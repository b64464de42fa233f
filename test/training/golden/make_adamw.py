#!/usr/bin/env python3
"""Three steps of torch.optim.AdamW with its gradient clipped, for ../adamw.test.ts. usage: make_adamw.py > adamw.json"""
import json

import torch

torch.manual_seed(0)
x = torch.nn.Parameter(torch.randn(6, dtype=torch.float64))
optimiser = torch.optim.AdamW([x], lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.3)
start, gradients, results, norms = x.tolist(), [], [], []
for scale in (0.1, 3.0, 1.0):
    x.grad = scale * torch.randn(6, dtype=torch.float64)
    gradients.append(x.grad.tolist())
    norms.append(torch.nn.utils.clip_grad_norm_([x], 1.0).item())
    optimiser.step()
    results.append(x.tolist())
print(json.dumps(dict(start=start, gradients=gradients, norms=norms, results=results)))
