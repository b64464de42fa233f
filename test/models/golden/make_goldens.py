#!/usr/bin/env python3
"""Tiny random checkpoints of the families that have no small public one, with the logits of transformers.

usage: make_goldens.py           writes a folder for each case beside this file
       make_goldens.py --check   recomputes the logits of the folders that are there and compares
needs: pip install -r requirements.txt
The folders are committed, after `npx biome check --write .`: test/models/llama/golden.test.ts reads them without Python.
"""
import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
TOLERANCE = 1e-4
POSITIONS = 40

SMALL = dict(
    vocab_size=64, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0,
)

# Every option of the family is on in some case; windows and rope contexts are short enough to matter in 40 positions.
CASES = {
    "llama3-rope": (transformers.LlamaConfig, torch.bfloat16, dict(
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=32))),
    "llama-linear-rope-biases": (transformers.LlamaConfig, torch.float16, dict(
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=24, num_key_value_heads=1,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0))),
    "mistral-sliding-window": (transformers.MistralConfig, torch.bfloat16, dict(
        tie_word_embeddings=False, sliding_window=8, rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen2-mixed-windows": (transformers.Qwen2Config, torch.bfloat16, dict(
        tie_word_embeddings=True, use_sliding_window=True, sliding_window=8, max_window_layers=1,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "qwen3": (transformers.Qwen3Config, torch.bfloat16, dict(
        tie_word_embeddings=True, head_dim=32, attention_bias=True,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
}


def logits_of(folder, ids):
    # eager: the plain formula, without a fused kernel's rounding.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0]


def make(name, number):
    config_class, dtype, options = CASES[name]
    generator = torch.Generator().manual_seed(number)
    config = config_class(**{**SMALL, **options})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if key.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                # Far from the usual 0.02: attention has to be sharp for masks and rotations to show.
                parameter.copy_((0.3 if key.endswith("bias") else 0.25) * noise)
    folder = HERE / name
    model.to(dtype).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, config.vocab_size, (POSITIONS,), generator=generator).tolist()
    logits = logits_of(folder, ids)
    save_file({"logits": logits.contiguous()}, folder / "golden.safetensors")
    for file in folder.iterdir():
        file.chmod(0o644)
    versions = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__)
    (folder / "golden.json").write_text(json.dumps(dict(versions, ids=ids)) + "\n")
    print(f"{name}: logits from {logits.min():.2f} to {logits.max():.2f}")


def check(name):
    folder = HERE / name
    ids = json.loads((folder / "golden.json").read_text())["ids"]
    difference = (logits_of(folder, ids) - load_file(folder / "golden.safetensors")["logits"]).abs().max().item()
    print(f"{name}: largest difference {difference:.1e}")
    return difference <= TOLERANCE


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(0 if all([check(name) for name in CASES]) else 1)
    for number, name in enumerate(CASES):
        make(name, number)
