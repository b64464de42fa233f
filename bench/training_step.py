"""PyTorch's side of training-step-versus-pytorch.mjs: for each line on standard input one training step, its wall
and processor seconds back.

usage: training_step.py MODEL dense|factors BATCH SEQLEN THREADS
Trained are the linear layers and norms, by AdamW, in fp32, with the gradient clipped; `factors` puts A(Bx) with masks in
place of each linear layer, q, k and v with one B.
"""
import sys
import time

import torch
import torch.nn.functional as F
import transformers

model_path, kind, batch, seq_len = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(int(sys.argv[5]))
torch.manual_seed(0)
model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32, attn_implementation="sdpa")


class SharedB(torch.nn.Module):
    """B and the last B x, which q, k and v have in common."""

    def __init__(self, inner, width):
        super().__init__()
        self.weight = torch.nn.Parameter(0.05 * torch.randn(inner, width))
        self.register_buffer("mask", (torch.rand(inner, width) < 0.2).float())
        self.last = (None, None)

    def forward(self, x):
        if self.last[0] is not x:
            self.last = (x, F.linear(x, self.weight * self.mask))
        return self.last[1]


class Factored(torch.nn.Module):
    def __init__(self, out, b):
        super().__init__()
        self.b = b
        self.weight = torch.nn.Parameter(0.05 * torch.randn(out, b.weight.shape[0]))
        self.register_buffer("mask", (torch.rand(self.weight.shape) < 0.2).float())

    def forward(self, x):
        return F.linear(self.b(x), self.weight * self.mask)


if kind == "factors":
    for block in model.model.layers:
        attention, mlp = block.self_attn, block.mlp
        shared = SharedB(attention.q_proj.in_features, attention.q_proj.in_features)
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(attention, name, Factored(getattr(attention, name).out_features, shared))
        for owner, name in ((attention, "o_proj"), (mlp, "gate_proj"), (mlp, "up_proj"), (mlp, "down_proj")):
            layer = getattr(owner, name)
            inner = min(layer.in_features, layer.out_features)
            setattr(owner, name, Factored(layer.out_features, SharedB(inner, layer.in_features)))
model.get_input_embeddings().weight.requires_grad_(False)
model.get_output_embeddings().weight.requires_grad_(False)
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimiser = torch.optim.AdamW(trained, lr=1e-5)
model.train()


def step():
    ids = torch.randint(0, model.config.vocab_size, (batch, seq_len))
    start, processor = time.perf_counter(), time.process_time()
    logits = model(ids).logits
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
    return time.perf_counter() - start, time.process_time() - processor


for _ in sys.stdin:
    print(*step(), flush=True)
