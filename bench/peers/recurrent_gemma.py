"""Hugging Face's RecurrentGemma with random weights: prefill and decode, at most 2,047 tokens.

Beyond that its prefill attends to the whole prefix (no lower bound of the window): other work, so not timed. It walks over time in
Python, so long prompts say more about the host than about the GPU.
"""
import torch

import timing
from cases import TYPES, NotMeasured
from inputs import tokens
from model_torch import finite, mean_step

MOST = 2047


def build(row, device):
    try:
        from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM
    except ImportError as error:
        raise NotMeasured(f"no transformers with RecurrentGemma ({error})") from None
    m = row["model"]
    if tuple(m["pattern"]) != ("recurrent", "recurrent", "attention") or m["rnn_width"] != m["width"] or m["heads"] != m["blocks"] or m["heads"] * m["head_dim"] != m["width"]:
        raise NotMeasured("not a shape of RecurrentGemma's code")
    config = RecurrentGemmaConfig(
        num_hidden_layers=m["layers"], vocab_size=m["vocabulary"], hidden_size=m["width"], lru_width=m["rnn_width"],
        intermediate_size=2 * m["mlp_width"], num_attention_heads=m["heads"], num_key_value_heads=1, attention_window_size=m["window"],
        conv1d_width=m["taps"], logits_soft_cap=m["soft_cap"], pad_token_id=0, bos_token_id=2, eos_token_id=1)
    torch.manual_seed(1)
    torch.set_default_dtype(TYPES[row["type"]])
    try:
        with torch.device(device):
            return RecurrentGemmaForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)


def prefill(row, device, longest):
    s = row["shape"]
    if s["tokens"] > MOST:
        raise NotMeasured(f"over {MOST} tokens its prefill has no window")
    model, prompt = build(row, device), tokens(1, (s["batch"], s["tokens"]), row["model"]["vocabulary"], device)
    call = lambda: model(prompt, use_cache=False, logits_to_keep=1).logits
    checksum = finite(call())
    return timing.measure(lambda: call, 1 << 40, "pipeline", device, longest), "eager, logits_to_keep=1", checksum


def decode(row, device, longest, compiled=False):
    """As generate() would step: a prompt, then one token at a time with the cache."""
    from transformers import DynamicCache
    s = row["shape"]
    batch, steps = s["batch"], max(1, s["steps"] // 8)  # a cache grows and is not rewound: few steps a sample, inside the window
    context = max(1, min(s["context"], MOST - s["steps"]))
    model = build(row, device)
    cache = DynamicCache(config=model.config)
    out = model(tokens(1, (batch, context), row["model"]["vocabulary"], device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    checksum = finite(out.logits)
    forward = torch.compile(model, dynamic=True) if compiled else model
    state = {"token": out.logits[:, -1:].argmax(-1), "position": context}

    def step():
        where = torch.full((batch, 1), state["position"], device=device)
        logits = forward(state["token"], position_ids=where, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        state["token"], state["position"] = logits.argmax(-1), state["position"] + 1

    kind = "compiled" if compiled else "eager"
    return mean_step(step, lambda: None, steps, device, min(longest, 2.0)), f"{kind}, context {context}", checksum


ROWS = {"prefill": prefill, "decode": decode}
