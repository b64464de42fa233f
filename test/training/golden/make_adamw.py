#!/usr/bin/env python3
"""Three steps of torch.optim.AdamW with its gradient clipped, for ../adamw.test.ts, with the usual momentum and with
another. usage: make_adamw.py > adamw.json"""
import json

import torch

torch.manual_seed(0)
start = torch.randn(6, dtype=torch.float64)
gradients = [scale * torch.randn(6, dtype=torch.float64) for scale in (0.1, 3.0, 1.0)]
results = {}
for momentum in (0.9, 0.5):
    x = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.AdamW([x], lr=0.1, betas=(momentum, 0.95), eps=1e-8, weight_decay=0.3)
    results[momentum], norms = [], []
    for gradient in gradients:
        x.grad = gradient.clone()
        norms.append(torch.nn.utils.clip_grad_norm_([x], 1.0).item())
        optimiser.step()
        results[momentum].append(x.tolist())
print(json.dumps(dict(start=start.tolist(), gradients=[g.tolist() for g in gradients], norms=norms, results=results)))
