#!/usr/bin/env python3
"""Gradients of the tiny checkpoints in test/models/golden, by PyTorch's autograd in float64.

usage: make_goldens.py           writes NAME.safetensors beside this file for each of them
needs: pip install -r ../../models/golden/requirements.txt
For the ids of golden.json, cut into two sequences: the gradients of the mean cross-entropy of the next tokens, and of
0.25 cross-entropy + 0.75 KL(teacher || model), where the teacher is the same model with all weights of its matrices
times 0.9 (for two of them: the files are large). Tensors: cross_entropy/PARAMETER, mixed/PARAMETER, and losses = [cross-entropy, divergence].
"""
import json
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
CHECKPOINTS = HERE.parent.parent / "models" / "golden"
SHARE = 0.75
MIXED = ("llama-linear-rope-biases", "qwen3")


def load(folder):
    # eager: the plain formula, without a fused kernel's rounding.
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager").eval()


def main():
    for folder in sorted(path for path in CHECKPOINTS.iterdir() if (path / "golden.json").exists()):
        ids = torch.tensor(json.loads((folder / "golden.json").read_text())["ids"]).reshape(2, -1)
        model, teacher = load(folder), load(folder)
        with torch.no_grad():
            for parameter in teacher.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(0.9)
            q = teacher(ids).logits[:, :-1].log_softmax(-1)
        p = model(ids).logits[:, :-1].log_softmax(-1)
        cross_entropy = F.nll_loss(p.flatten(0, 1), ids[:, 1:].flatten())
        divergence = F.kl_div(p.flatten(0, 1), q.flatten(0, 1), log_target=True, reduction="batchmean")
        tensors = {"losses": torch.stack([cross_entropy, divergence]).detach().float()}
        mixed = (1 - SHARE) * cross_entropy + SHARE * divergence
        kinds = [("cross_entropy", cross_entropy)] + ([("mixed", mixed)] if folder.name in MIXED else [])
        for kind, loss in kinds:
            model.zero_grad()
            loss.backward(retain_graph=True)
            for name, parameter in model.named_parameters():
                tensors[f"{kind}/{name}"] = parameter.grad.float().clone()
        target = HERE / f"{folder.name}.safetensors"
        save_file(tensors, target)
        target.chmod(0o644)
        print(f"{folder.name}: cross-entropy {cross_entropy:.4f}, divergence {divergence:.4f}")


if __name__ == "__main__":
    main()
