"""Window attention by torch's library calls: scaled_dot_product_attention and flex_attention.

One key and value head serves all query heads; a query sees itself and the `window` tokens before it. The dense causal call does more
than that where tokens > window + 1: it is timed as it is, named so, and its result checked against the dense reference.
"""
import math

import torch
from torch.nn import functional as F

from cases import LIMIT, NotMeasured, Op, wide
from ops_torch import Draw

CHECKED = 8


def split(qkv, batch, heads, head_dim):
    """q [B,H,T,d], k and v [B,1,T,d] as views of the rows [B T, (H+2) d]."""
    return qkv.view(batch, -1, heads + 2, head_dim).transpose(1, 2).split([heads, 1, 1], 1)


def merge(y):
    return y.transpose(1, 2).reshape(y.shape[0] * y.shape[2], -1)


def mask_of(tokens, window, device, first=0):
    """[queries from first on, tokens]: whether the query sees the key."""
    distance = torch.arange(first, tokens, device=device)[:, None] - torch.arange(tokens, device=device)[None]
    return (distance >= 0) & (distance <= window)


def plain(qkv, batch, heads, head_dim, window, first=0):
    """Scores in memory: the reference, and no more than that; the queries from `first` on."""
    q, k, v = split(qkv, batch, heads, head_dim)
    scores = wide(q[:, :, first:] @ k.transpose(-1, -2)) / math.sqrt(head_dim)
    scores = scores.masked_fill(~mask_of(k.shape[2], window, qkv.device, first), float("-inf"))
    return merge(scores.softmax(-1).to(qkv.dtype) @ v)


def grouped(q, k, v, **how):
    """One key head for all query heads, natively where this torch can."""
    try:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how)
    except TypeError:  # before torch 2.5
        return F.scaled_dot_product_attention(q, k.expand_as(q), v.expand_as(q), **how)


def dense_causal(qkv, batch, heads, head_dim):
    if not hasattr(F, "scaled_dot_product_attention"):
        raise NotMeasured("this torch has no scaled_dot_product_attention")
    return merge(grouped(*split(qkv, batch, heads, head_dim), is_causal=True))


def flex(tokens, window, device):
    """A compiled flex_attention with the window's block mask, as a function of q, k and v."""
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    except ImportError as error:
        raise NotMeasured(f"this torch has no flex_attention ({error})") from None

    def visible(batch, head, query, key):
        return (query >= key) & (query - key <= window)

    blocks = create_block_mask(visible, None, None, tokens, tokens, device=str(device))
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=blocks, enable_gqa=True)


class WindowOp(Op):
    """Checks the last queries against float64: their results, and their queries' gradients, depend on no other query."""

    def setup(self, row, seen):
        s = row["shape"]
        self.sizes = (s["batch"], s["heads"], s["head_dim"])
        self.first, self.seen, self.limit = max(0, s["tokens"] - CHECKED), seen, LIMIT[row["type"]]
        return self

    def _last(self, rows):
        batch = self.sizes[0]
        return rows.view(batch, -1, rows.shape[-1])[:, self.first :]

    def _check_forward(self, function):
        with torch.no_grad():
            out = function(*self.copies())
            exact = plain(self.inputs[0].double(), *self.sizes, self.seen, self.first)
        return [out], [(self._last(out).flatten(0, 1), exact)]

    def _check_backward(self, function):
        batch, heads, head_dim = self.sizes
        outputs, wanted = self._differentiable(function, self.copies())
        gradient = self.output_gradients(outputs)[0]
        found = torch.autograd.grad(outputs, wanted, [gradient])
        last = self._last(self.inputs[0]).double().requires_grad_(True)
        rows = self.inputs[0].double().view(batch, -1, (heads + 2) * head_dim)
        whole = torch.cat([rows[:, : self.first], last], 1).flatten(0, 1)
        exact = torch.autograd.grad([plain(whole, *self.sizes, self.seen, self.first)], [last], [self._last(gradient).double().flatten(0, 1)])[0]
        queries = heads * head_dim
        return found, [(self._last(found[0])[..., :queries], exact[..., :queries])]


def window_attention(row, device, peer):
    """(Op, function, variant) of a peer."""
    s = row["shape"]
    sizes, tokens, window = (s["batch"], s["heads"], s["head_dim"]), s["tokens"], s["window"]
    draw = Draw(row, device)
    qkv = draw.normal("qkv", s["batch"] * tokens, (s["heads"] + 2) * s["head_dim"])
    made = lambda forward, seen: WindowOp([qkv], forward, wrt=(0,), gradient_seed=draw.gradient_seed()).setup(row, seen)
    if peer == "torch-sdpa":
        op = made(lambda x: dense_causal(x, *sizes), tokens)
        return op, op.forward, "dense causal, enable_gqa" + ("" if tokens <= window + 1 else ": all earlier keys, not the window")
    if peer == "torch-flex":
        attend = flex(tokens, window, device)
        op = made(lambda x: merge(attend(*split(x, *sizes))), window)
        return op, op.forward, "compiled, sliding-window block mask, enable_gqa"
    masked = mask_of(tokens, window, device)
    eager = (lambda x: merge(grouped(*split(x, *sizes), attn_mask=masked))) if hasattr(F, "scaled_dot_product_attention") else (lambda x: plain(x, *sizes, window))
    op = made(eager, window)
    return op, eager, "scaled_dot_product_attention with a dense mask" if hasattr(F, "scaled_dot_product_attention") else "scores in memory"


def decode_attention(row, device, peer):
    """One query token a sequence against its ring's context + 1 keys; the query heads are rows of one product."""
    s = row["shape"]
    draw, keys = Draw(row, device), min(s["context"], s["window"]) + 1
    heads, head_dim = s["heads"], s["head_dim"]
    inputs = [draw.normal("qkv", s["batch"], (heads + 2) * head_dim), draw.normal("ring", s["batch"], 2, s["window"] + 1, head_dim)]

    def by_hand(qkv, ring):
        q = qkv[:, : heads * head_dim].view(-1, heads, head_dim)
        scores = wide(q @ ring[:, 0, :keys].transpose(1, 2)) / math.sqrt(head_dim)
        return (scores.softmax(-1).to(qkv.dtype) @ ring[:, 1, :keys]).flatten(1)

    def library(qkv, ring):
        q = qkv[:, : heads * head_dim].view(-1, 1, heads, head_dim)
        return F.scaled_dot_product_attention(q, ring[:, :1, :keys], ring[:, 1:, :keys]).flatten(1)

    op = Op(inputs, by_hand, limit=2 * LIMIT[row["type"]])  # scores and probabilities are rounded as well
    if peer == "torch-flex":
        raise NotMeasured("flex_attention is timed on the window only")
    if peer == "torch-sdpa":
        if not hasattr(F, "scaled_dot_product_attention"):
            raise NotMeasured("this torch has no scaled_dot_product_attention")
        return op, library, "query heads as rows"
    return op, by_hand, "two products and a softmax"
