"""Makes the files of this folder. Needs: pip install gguf==0.19.0 sentencepiece numpy safetensors

dequantize.safetensors  random blocks of every GGUF type that we read, and what the gguf package makes of them
tiny-llama.gguf         a llama of two blocks with random weights, written by the gguf package: BF16, F16, F32 and Q8_0
                        tensors, q and k permuted as llama.cpp's converter does, Llama 3 rope table, SentencePiece
                        tokenizer
tiny-llama.safetensors  the same weights under their Hugging Face names, before permutation, dequantised
tiny-llama.json         texts and the ids that sentencepiece gives them
"""

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, TokenType, dequantize, quantize
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import save_file

here = Path(__file__).parent
random = np.random.default_rng(7)

# --- blocks -----------------------------------------------------------------------------------------------------
# Where the fp16 numbers of a block are: random bits there could be NaN.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [0], "BF16": [], "F32": [],
}  # fmt: skip
tensors = {}
for name, halves in HALVES.items():
    kind = Type[name]
    values, size = GGML_QUANT_SIZES[kind]
    count = 6 if values > 1 else 64
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in halves:
        half = (random.standard_normal(count) * 2.0 ** random.integers(-16, 4, count)).astype(np.float16)
        blocks[:, at : at + 2] = half.view(np.uint8).reshape(count, 2)
    if name in ("F32", "BF16"):
        numbers = random.standard_normal(count).astype(np.float32)
        raw = numbers.view(np.uint8).reshape(count, 4)
        blocks = np.ascontiguousarray(raw[:, 2:] if name == "BF16" else raw)
    if name == "F32":
        decoded = blocks.view(np.float32)
    elif name == "F16":
        decoded = blocks.view(np.float16).astype(np.float32)
    else:
        decoded = dequantize(blocks, kind)
    tensors[f"{name}.blocks"] = blocks
    tensors[f"{name}.values"] = np.ascontiguousarray(decoded.reshape(count, values), dtype=np.float32)
save_file(tensors, here / "dequantize.safetensors", {"made_by": "make_goldens.py, gguf 0.19.0"})

# --- tokenizer --------------------------------------------------------------------------------------------------
text = Path(sys.argv[1]).read_text()[:200_000] if len(sys.argv) > 1 else sys.exit("usage: make_goldens.py TEXT")
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(part for part in text.replace("\n", ". ").split(". ") if part),
    model_writer=model, model_type="bpe", vocab_size=512, byte_fallback=True, character_coverage=0.999,
    normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
    allow_whitespace_only_pieces=True, user_defined_symbols=["<sep>"], num_threads=1, minloglevel=2,
)  # fmt: skip
processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
texts = [
    "My fellow citizens, the state of the Union is strong.",
    " a leading space, and  two   inside",
    "Zwei Jäger – 3.14159 €",
    "日本語 and emoji 🙂",
    "line one\nline two\n\n\ttabbed",
    "",
    "internationalisation of constitutional representatives 1789",
]
(here / "tiny-llama.json").write_text(
    json.dumps([{"text": each, "ids": processor.encode(each)} for each in texts], ensure_ascii=False, indent=1) + "\n"
)

# --- model ------------------------------------------------------------------------------------------------------
HIDDEN, HEADS, KV, HEAD, FF, BLOCKS, VOCAB = 64, 4, 2, 16, 96, 2, 512
THETA, FACTOR, LOW, HIGH, CONTEXT = 500000.0, 8.0, 1.0, 4.0, 8192
writer = GGUFWriter(here / "tiny-llama.gguf", "llama")
writer.add_name("tiny")
writer.add_context_length(1024)
writer.add_embedding_length(HIDDEN)
writer.add_block_count(BLOCKS)
writer.add_feed_forward_length(FF)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(HEAD)
writer.add_rope_freq_base(THETA)
writer.add_vocab_size(VOCAB)
writer.add_custom_alignment(64)
writer.add_tokenizer_model("llama")
kinds = []
for i in range(VOCAB):
    kinds.append(
        TokenType.UNKNOWN if processor.is_unknown(i)
        else TokenType.CONTROL if processor.is_control(i)
        else TokenType.BYTE if processor.is_byte(i)
        else TokenType.USER_DEFINED if processor.id_to_piece(i) == "<sep>"
        else TokenType.NORMAL
    )  # fmt: skip
writer.add_token_list([processor.id_to_piece(i).encode() for i in range(VOCAB)])
writer.add_token_scores([processor.get_score(i) for i in range(VOCAB)])
writer.add_token_types(kinds)
writer.add_bos_token_id(processor.bos_id())
writer.add_eos_token_id(processor.eos_id())
writer.add_unk_token_id(processor.unk_id())
writer.add_chat_template("{{ messages[0]['content'] }}")

expected = {}


def add(name: str, hugging_face: str, shape: tuple[int, ...], kind: Type, heads: int = 0) -> None:
    weight = (random.standard_normal(shape) * 0.05).astype(np.float32)
    if kind == Type.F32:
        stored, decoded = weight, weight
    else:
        stored = quantize(weight, kind)
        decoded = dequantize(stored, kind).reshape(shape)
    expected[hugging_face] = decoded.astype(np.float32)
    if heads:  # convert_hf_to_gguf.py, LlamaModel.permute; rows are whole numbers of blocks, so bytes can be permuted
        stored = stored.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(stored.shape)
    writer.add_tensor(name, np.ascontiguousarray(stored), raw_dtype=kind)


add("token_embd.weight", "model.embed_tokens.weight", (VOCAB, HIDDEN), Type.Q8_0)
add("output.weight", "lm_head.weight", (VOCAB, HIDDEN), Type.F16)
add("output_norm.weight", "model.norm.weight", (HIDDEN,), Type.F32)
for block in range(BLOCKS):
    names = (
        ("attn_norm", "input_layernorm", (HIDDEN,), Type.F32, 0),
        ("attn_q", "self_attn.q_proj", (HEADS * HEAD, HIDDEN), Type.Q8_0, HEADS),
        ("attn_k", "self_attn.k_proj", (KV * HEAD, HIDDEN), Type.BF16, KV),
        ("attn_v", "self_attn.v_proj", (KV * HEAD, HIDDEN), Type.F16, 0),
        ("attn_output", "self_attn.o_proj", (HIDDEN, HEADS * HEAD), Type.Q4_0, 0),
        ("ffn_norm", "post_attention_layernorm", (HIDDEN,), Type.F32, 0),
        ("ffn_gate", "mlp.gate_proj", (FF, HIDDEN), Type.Q4_1, 0),
        ("ffn_up", "mlp.up_proj", (FF, HIDDEN), Type.Q5_0, 0),
        ("ffn_down", "mlp.down_proj", (HIDDEN, FF), Type.Q5_1, 0),
    )
    for stem, target, shape, kind, heads in names:
        add(f"blk.{block}.{stem}.weight", f"model.layers.{block}.{target}.weight", shape, kind, heads)

factors = []
for i in range(HEAD // 2):
    wavelength = 2 * math.pi * THETA ** (2 * i / HEAD)
    smooth = min(1.0, max(0.0, (CONTEXT / wavelength - LOW) / (HIGH - LOW)))
    factors.append(1 / ((1 - smooth) / FACTOR + smooth))
writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, here / "tiny-llama.safetensors")
