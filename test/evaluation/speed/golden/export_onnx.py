"""Writes an ONNX export with keys and values as inputs, as transformers.js runs it.

usage: python export_onnx.py CHECKPOINT OUT.onnx    (torch 2.15, transformers 5.24, onnx)
The committed one: ../../../models/golden/llama-linear-rope-biases tiny-with-past.onnx
"""

import sys

import torch
from transformers import AutoModelForCausalLM, DynamicCache

source, out = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
config = model.config
layers, heads = config.num_hidden_layers, config.num_key_value_heads
size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


class WithPast(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, ids, mask, positions, *past):
        cache = DynamicCache()
        for i in range(layers):
            cache.update(past[2 * i], past[2 * i + 1], i)
        keys = torch.arange(mask.shape[1])[None, :]
        causal = torch.where(keys <= positions[0][:, None], 0.0, -1e9)[None, None]
        result = self.model(
            input_ids=ids, attention_mask=causal, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return (result.logits, *(t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)))


parts = [f"{i}.{kind}" for i in range(layers) for kind in ("key", "value")]
past = [f"past_key_values.{part}" for part in parts]
torch.onnx.export(
    WithPast(),
    (
        torch.tensor([[1, 2]]),
        torch.ones(1, 5, dtype=torch.long),
        torch.tensor([[3, 4]]),
        *(torch.zeros(1, heads, 3, size) for _ in parts),
    ),
    out,
    input_names=["input_ids", "attention_mask", "position_ids", *past],
    output_names=["logits", *(f"present.{part}" for part in parts)],
    dynamic_axes={
        "input_ids": {1: "new"},
        "attention_mask": {1: "all"},
        "position_ids": {1: "new"},
        **{name: {2: "past"} for name in past},
    },
    opset_version=17,
    dynamo=False,
)
