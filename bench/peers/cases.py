"""What a row times: an op's inputs, the function that a peer gives it, and how a part of the result is checked in float64.

Forwards are written for any floating type: in float64 the plain one is the reference (self_check.py holds it against loops), in the
row's type they take float32 steps where ours do (`wide`) and round once at the end.
"""
from dataclasses import dataclass, field
from typing import Callable

import torch

from inputs import normal

LIMIT = {"bf16": 5e-3, "f32": 1e-4}
LARGE = 16 << 30  # bytes of inputs
TYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
SIZES = {"bf16": 2, "f32": 4}


class NotMeasured(Exception):
    """A row that a peer cannot run, with the reason."""


def wide(x):
    return x.float() if x.dtype == torch.bfloat16 else x


def parts_of(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


@dataclass
class Op:
    """inputs: the op's arguments in order. forward: the plain form. wrt: arguments with a gradient. cut(which, tensor): the part of
    argument or of output (which = "out") that a check looks at; local: arguments whose cut gradient depends on cut data only."""

    inputs: list
    forward: Callable
    wrt: tuple = ()
    cut: Callable = lambda which, tensor: tensor
    local: tuple = ()
    limit: float = 5e-3
    checked_forward: bool = True
    gradient_seed: int = 0  # of the first output's gradient
    forms: dict = field(default_factory=dict)  # name of a peer -> another function of the same inputs

    def output_gradients(self, outputs):
        return [normal(self.gradient_seed + at, tuple(out.shape), out.device).to(out.dtype) for at, out in enumerate(outputs)]

    def bytes(self):
        return sum(t.numel() * t.element_size() for t in self.inputs)

    def copies(self):
        """The inputs again, or themselves where a second set would not fit beside them."""
        return self.inputs if self.bytes() > LARGE else [t.clone() for t in self.inputs]

    def bind(self, function, which):
        """A call of its own copies: the forward, the backward of one forward, or both."""
        inputs = self.copies()
        if which in ("forward", "step"):
            def call():
                with torch.no_grad():
                    return function(*inputs)
            return call
        outputs, wanted = self._differentiable(function, inputs)
        gradients = self.output_gradients(outputs)
        if which == "backward":
            return lambda: torch.autograd.grad(outputs, wanted, gradients, retain_graph=True)
        return lambda: torch.autograd.grad(parts_of(function(*inputs)), wanted, gradients)

    def check(self, function, which):
        """(relative L2 against float64 on the cut, checksum of the first output); None where no cut can be told. A wrong result raises."""
        outputs, pairs = (self._check_forward if which in ("forward", "step") else self._check_backward)(function)
        if not all(bool(torch.isfinite(out).all()) for out in outputs):
            raise NotMeasured("wrong result: not finite")
        worst = max((relative_l2(actual, exact) for actual, exact in pairs), default=None)
        if worst is not None and not worst <= self.limit:
            raise NotMeasured(f"wrong result: relative L2 {worst:.2e} is over {self.limit:.0e}")
        return worst, f"{outputs[0].detach().sum(dtype=torch.float64).item():.9e}"

    def _check_forward(self, function):
        with torch.no_grad():
            exact = parts_of(self.forward(*[self._exact(at, t) for at, t in enumerate(self.inputs)])) if self.checked_forward else []
            outputs = parts_of(function(*self.copies()))
        return outputs, [(self.cut("out", out), reference) for out, reference in zip(outputs, exact)]

    def _check_backward(self, function):
        out, wanted = self._differentiable(function, self.copies())
        gradients = self.output_gradients(out)
        outputs = torch.autograd.grad(out, wanted, gradients)
        local = [at for at in self.wrt if at in self.local]
        if not local:
            return outputs, []
        cut = [self._exact(at, t).requires_grad_(at in self.wrt) for at, t in enumerate(self.inputs)]
        exact = torch.autograd.grad(parts_of(self.forward(*cut)), [cut[at] for at in local], [self.cut("out", g).double() for g in gradients])
        return outputs, [(self.cut(at, outputs[self.wrt.index(at)]), reference) for at, reference in zip(local, exact)]

    def _differentiable(self, function, inputs):
        for at in self.wrt:
            inputs[at].requires_grad_(True)
        return parts_of(function(*inputs)), [inputs[at] for at in self.wrt]

    def _exact(self, at, tensor):
        part = self.cut(at, tensor.detach())
        return part.double() if part.is_floating_point() else part.clone()


def relative_l2(actual, exact):
    """NaN where either side has one, so that no comparison with it holds."""
    actual, exact = actual.detach().double(), exact.detach().double()
    return ((actual - exact).norm() / exact.norm().clamp_min(1e-30)).item()
