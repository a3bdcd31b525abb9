"""The peers' own check, on the CPU: inputs against the golden list, every formula against loops in numpy, all rows at the tiny sizes."""
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import attention_torch
import inputs
import ops_torch
import rows
import scans_torch
from griffin_model import Griffin, Shape

GOLDEN = Path(__file__).resolve().parent.parent / "inputs.golden.tsv"


def near(what, actual, expected, limit=1e-6):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    error = np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
    if actual.shape != expected.shape or not error <= limit:
        raise AssertionError(f"{what}: relative L2 {error:.2e} (shapes {actual.shape}, {expected.shape})")


def draw(seed, *shape):
    return inputs.normal(seed, shape).double()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def generator():
    if GOLDEN.read_text(encoding="utf-8").splitlines() != list(inputs.golden()):
        raise AssertionError(f"{GOLDEN.name} differs from inputs.py")
    for line in list(inputs.golden())[1:]:
        seed, index, *_, uniform, normal, _ = line.split("\t")
        if int(index) < 70000:
            at = int(index)
            found = [t[at].view(torch.int32).item() & inputs.MASK for t in (inputs.uniform(int(seed), (at + 1,)), inputs.normal(int(seed), (at + 1,)))]
            if [f"{value:08x}" for value in found] != [uniform, normal]:
                raise AssertionError(f"tensor of seed {seed}, element {index}")


def recurrences():
    batch, length, width = 2, 37, 5
    z, gates, y, decay = draw(1, batch, length, width), draw(2, batch, length, 2, width), draw(3, batch, length, width), inputs.decay(4, width).double()
    expected, h = np.zeros((batch, length, width)), np.zeros((batch, width))
    for t in range(length):
        i, r = sigmoid(gates[:, t, 0].numpy()), sigmoid(gates[:, t, 1].numpy())
        log_a = -8 * r * np.log1p(np.exp(decay.numpy()))
        gated = i * z[:, t].numpy()
        h = gated if t == 0 else np.exp(log_a) * h + np.sqrt(1 - np.exp(2 * log_a)) * gated
        expected[:, t] = h * gelu(y[:, t].numpy())
    near("rg_lru", scans_torch.rg_lru(z, gates, y, decay), expected)
    near("rg_lru step", torch.stack(steps(z, gates, y, decay), 1), expected)
    # The gradient by differences, through both the decays and the values.
    value = lambda *x: (scans_torch.rg_lru(*x) * draw(5, batch, length, width)).sum()
    leaves = [t.clone().requires_grad_(True) for t in (z, gates, y, decay)]
    gradients = torch.autograd.grad(value(*leaves), leaves)
    for at, gradient in enumerate(gradients):
        direction, step = draw(6 + at, *gradient.shape), 1e-5
        moved = [[t + (sign * step * direction if n == at else 0) for n, t in enumerate((z, gates, y, decay))] for sign in (1, -1)]
        near(f"rg_lru gradient {at}", (gradient * direction).sum(), (value(*moved[0]) - value(*moved[1])) / (2 * step), 1e-6)
    # A vector of the specification: z, Lambda, gates and positions 0, 1 of its table.
    h = scans_torch.rg_lru(torch.tensor([[[0.5, -1.0], [1.0, 0.25]]]).double(), torch.logit(torch.tensor(
        [[[[0.450166003, 0.389360766], [0.365864409, 0.506249674]], [[0.59868766, 0.383433495], [0.395320915, 0.710949503]]]]).double()),
        torch.full((1, 2, 2), 40.0).double(), torch.tensor([-4.0, -2.5]).double()) / 40
    near("rg_lru vector", h[0], [[0.225083001, -0.389360766], [0.409690928, -0.174814389]], 1e-6)
    a, x = torch.rand(2, 19, 3).double(), draw(2, 2, 19, 3)
    for name, scan in (("log-depth", scans_torch.doubling_scan),):
        near(name, scan(a, x), loop(a, x))
        near(f"{name}, reverse", scan(a, x, True), loop(a.flip(1), x.flip(1)).copy()[:, ::-1])


def steps(z, gates, y, decay):
    state = torch.zeros_like(z[:, 0])
    return [scans_torch.rg_lru_step(z[:, t], gates[:, t], y[:, t], decay, state, torch.tensor([t])) for t in range(z.shape[1])]


def loop(a, x):
    a, x = a.numpy(), x.numpy()
    h, out = np.zeros_like(x[:, 0]), np.zeros_like(x)
    for t in range(x.shape[1]):
        h = out[:, t] = a[:, t] * h + x[:, t]
    return out


def elementwise():
    x, scale = draw(1, 3, 7), draw(2, 7)
    rms = x.numpy() / np.sqrt((x.numpy() ** 2).mean(1, keepdims=True) + 1e-6) * (1 + scale.numpy())
    near("rms_norm", ops_torch.rms_norm(x, scale), rms)
    near("rms_norm vector", ops_torch.rms_norm(torch.tensor([[0.1, 0.2]]).double(), torch.zeros(2).double()), [[0.632442883, 1.264885767]])
    gate_up, bias = draw(3, 3, 10), draw(4, 10)
    gate, up = np.split(gate_up.numpy() + bias.numpy(), 2, 1)
    near("gelu_multiply", ops_torch.gelu_multiply(gate_up, bias), gelu(gate) * up)
    conv = [torch.tensor(t).double() for t in ([[[1, 1], [2, 0], [3, -1], [4, 2], [5, 1]]], [[1, 2, 3, 4], [10, 20, 30, 40]], [0.5, -0.5])]
    expected = [[[4.5, 39.5], [11.5, 29.5], [20.5, -20.5], [30.5, 59.5], [40.5, 79.5]]]
    near("shifted_conv", ops_torch.shifted_conv(*conv), expected)
    near("library_conv", ops_torch.library_conv(*conv), expected)
    state = torch.zeros(1, 3, 2).double()
    near("conv_step", torch.stack([ops_torch.conv_step(conv[0][:, t], conv[1], conv[2], state) for t in range(5)], 1), expected)
    turned = ops_torch.rotate(torch.tensor([[*range(1, 9), *range(1, 9), *range(1, 9)]]).double(), torch.tensor([3]), 1, 8)[0]
    vector = [-1.413352521, 1.879118067, -2.828857482, 4.058191135, 5, 6, 7, 8]
    near("rotate", turned, [*vector, *vector, *range(1, 9)])
    logits, target = draw(5, 4, 9), torch.tensor([0, 8, 3, 3])
    capped = 30 * np.tanh(logits.numpy() / 30)
    near("cross_entropy", ops_torch.cross_entropy(logits, target), np.mean(np.log(np.exp(capped).sum(1)) - capped[range(4), target.numpy()]))
    adam()


def adam():
    master, gradient, first, second = (draw(seed, 6) for seed in (1, 2, 3, 4))
    second = second.abs()
    m, v = 0.9 * first + 0.1 * gradient, 0.95 * second + 0.05 * gradient**2
    expected = master * (1 - 1e-3 * 0.1) - 1e-3 * (m / (1 - 0.9**10)) / ((v / (1 - 0.95**10)).sqrt() + 1e-8)
    near("adam_w", ops_torch.adam_w(master, gradient, first, second, torch.tensor(9.0).double(), torch.empty(6).double()), expected)


def attention():
    batch, heads, head_dim, length, window = 2, 3, 4, 11, 5
    qkv = draw(1, batch * length, (heads + 2) * head_dim)
    view = qkv.view(batch, length, heads + 2, head_dim).numpy()
    expected = np.zeros((batch, length, heads, head_dim))
    for b, t, h in np.ndindex(batch, length, heads):
        keys = range(max(0, t - window), t + 1)
        p = np.exp([view[b, t, h] @ view[b, key, heads] / math.sqrt(head_dim) for key in keys])
        expected[b, t, h] = sum(weight * view[b, key, heads + 1] for weight, key in zip(p / p.sum(), keys))
    near("window attention", attention_torch.plain(qkv, batch, heads, head_dim, window), expected.reshape(batch * length, -1))


def model():
    """Steps through the states give what one pass gives, beyond the window too."""
    torch.manual_seed(3)
    shape = Shape(width=24, rnn_width=20, layers=4, heads=2, head_dim=12, blocks=2, mlp_width=40, vocabulary=31, window=6)
    for shape in (shape, Shape(**{**shape.__dict__, "window": None, "soft_cap": 0.0})):
        net = Griffin(shape).double()
        text = inputs.tokens(1, (2, 17), shape.vocabulary)
        with torch.no_grad():
            states, whole = net.states(2, 17), net(text)
            states = [[t.double() for t in state] for state in states]
            near("steps of the model", torch.stack([net.step(text[:, t], states, torch.tensor([t])) for t in range(17)], 1), whole)
            near("last token", net(text, last_only=True), whole[:, -1])
        plain = torch.nn.functional.cross_entropy(net(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        expected = torch.autograd.grad(plain, net.embedding)[0]
        for recompute in (False, True):
            loss = net.loss(text[:, :-1], text[:, 1:], recompute, piece=7)
            near("loss in pieces", loss.item(), plain.item())
            near("its gradient", torch.autograd.grad(loss, net.embedding)[0], expected)


def all_rows(folder, run, wanted):
    """Every row that torch can run in eager mode runs, is right, and has a line."""
    out = Path(folder) / "results.jsonl"
    options = SimpleNamespace(rows="*", peers="torch-eager", budget="10m", out=str(out), scale="tiny", device="cpu", modes="cold", row_seconds=0.01, attempt_seconds=600)
    if run(options) != 0:
        raise AssertionError("the runner failed")
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    expected = [row["id"] for row in rows.load("tiny") if wanted(row, "torch-eager")]
    if [line["row"] for line in lines] != expected:
        raise AssertionError("rows without a result line")
    bad = [f"{line['row']}: {line['reason']}" for line in lines if line["median_us"] is None and "no peer runs" not in line["reason"] and "no counterpart" not in line["reason"]]
    if bad:
        raise AssertionError("\n".join(bad))
    before = out.read_text(encoding="utf-8")
    if run(options) != 0 or out.read_text(encoding="utf-8") != before:
        raise AssertionError("a second run measured again what was there")
    return len(lines)


def run(folder, run_rows, wanted):
    """All checks; run_rows and wanted are the runner's own."""
    torch.set_num_threads(1)
    for check in (generator, recurrences, elementwise, attention, model):
        check()
    print(f"bench/peers: formulas are right, {all_rows(folder, run_rows, wanted)} tiny rows ran")
    return 0
