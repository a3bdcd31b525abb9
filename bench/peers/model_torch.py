"""Whole-model rows in torch: prefill, decode and the training step of our own model, eager and compiled.

Compiled means each kind of layer compiled once (they share code), not the whole model: minutes less to wait, the same kernels.
"""
import contextlib
import gc
import time

import torch

import timing
from attention_torch import flex
from cases import TYPES, NotMeasured
from griffin_model import Forms, Griffin, Shape
from inputs import tokens


def forms_for(peer, shape, length, device):
    if peer == "torch-eager":
        return Forms(), "log-depth scan, scaled_dot_product_attention"
    scan, name = compiled_scan(device)
    attend = flex(length, shape.window, device) if shape.window and length > shape.window + 1 and device.type == "cuda" else None
    return Forms(scan=scan, library_conv=False, attend=attend), f"layers compiled, {name} scan" + (", flex_attention" if attend else "")


def compiled_scan(device):
    """Triton's chunks where Triton is, as an op that the compiler does not look into; else the log-depth scan."""
    import scans_torch
    if device.type != "cuda":
        return scans_torch.doubling_scan, "log-depth"
    try:
        from scans_triton import scan_associative
    except ImportError:
        return scans_torch.doubling_scan, "log-depth"
    return torch.compiler.disable(scan_associative), "Triton chunk"


def build(row, device, peer, length):
    shape = Shape.of(row["model"])
    forms, variant = forms_for(peer, shape, length, device)
    with torch.device(device) if hasattr(torch.device, "__enter__") else contextlib.nullcontext():
        torch.set_default_dtype(TYPES[row["type"]])
        try:
            torch.manual_seed(1)
            model = Griffin(shape, forms).to(device)
        finally:
            torch.set_default_dtype(torch.float32)
    if peer == "torch-compile":
        if not hasattr(torch, "compile"):
            raise NotMeasured("this torch has no torch.compile")
        for layer in model.layers:
            layer.forward, layer.step = torch.compile(layer.forward, dynamic=False), torch.compile(layer.step, dynamic=False)
    return model, shape, variant


def finite(t):
    if not bool(torch.isfinite(t).all()):
        raise NotMeasured("wrong result: not finite")
    return f"{t.detach().sum(dtype=torch.float64).item():.9e}"


def prefill(row, device, peer, longest):
    s = row["shape"]
    model, shape, variant = build(row, device, peer, s["tokens"])
    model.requires_grad_(False)
    prompt = tokens(1, (s["batch"], s["tokens"]), shape.vocabulary, device)
    call = lambda: model(prompt, last_only=True)
    checksum = finite(call())
    return timing.measure(lambda: call, 1 << 40, "pipeline", device, longest), variant, checksum


class Decode:
    """Steps of a batch whose states hold `context` tokens; the token chosen goes into the next step. On a GPU one graph is a step."""

    def __init__(self, model, shape, batch, context, steps, device):
        self.token = tokens(1, (batch,), shape.vocabulary, device)
        self.position = torch.tensor([context], device=device)
        self.states = model.states(batch, context + steps + 1)
        self.model, self.start, self.graph = model, context, None

    @torch.no_grad()
    def eager(self):
        logits = self.model.step(self.token, self.states, self.position)
        self.token.copy_(logits.argmax(-1))
        self.position.add_(1)
        return logits

    def capture(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.eager()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.eager()

    def step(self):
        return self.eager() if self.graph is None else self.graph.replay()

    def rewind(self):
        self.position.fill_(self.start)


def mean_step(step, rewind, steps, device, longest):
    """Samples of the mean time over `steps` steps, in µs, from the same start each."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)

    def sample():
        rewind()
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        return (time.perf_counter() - start) * 1e6 / steps

    sample()
    before = timing.clock_and_power()
    samples = timing.collect(sample, longest)
    return timing.summary(samples, "graph" if device.type == "cuda" else "host", before, timing.clock_and_power())


def decode(row, device, peer, longest):
    s = row["shape"]
    model, shape, variant = build(row, device, peer, 1)
    model.requires_grad_(False)
    run = Decode(model, shape, s["batch"], s["context"], s["steps"], device)
    checksum = finite(run.eager())
    if device.type == "cuda":
        run.capture()
    return mean_step(run.step, run.rewind, s["steps"], device, longest), variant + ", greedy", checksum


def training_step(row, device, peer, longest):
    """Forward, loss, backward, clipping and fused AdamW; where the layers' activations do not fit, they are computed again."""
    try:
        return _training_step(row, device, peer, longest, recompute=False)
    except torch.cuda.OutOfMemoryError:
        pass  # what the first try holds goes with its exception
    gc.collect()
    torch.cuda.empty_cache()
    return _training_step(row, device, peer, longest, recompute=True)


def _training_step(row, device, peer, longest, recompute):
    """bfloat16 weights and moments, no float32 master copy: less work than ours."""
    s = row["shape"]
    model, shape, variant = build(row, device, peer, s["tokens"])
    fused = {"fused": True} if device.type == "cuda" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, **fused)
    text = tokens(1, (s["batch"], s["tokens"] + 1), shape.vocabulary, device)

    def call():
        optimizer.zero_grad(set_to_none=True)
        loss = model.loss(text[:, :-1], text[:, 1:], recompute)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    checksum = finite(call())
    variant += ", no master weights, head in pieces" + (", layers recomputed" if recompute else "")
    return timing.measure(lambda: call, 1 << 40, "pipeline", device, longest), variant, checksum


ROWS = {"prefill": prefill, "decode": decode, "training_step": training_step}
