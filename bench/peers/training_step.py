#!/usr/bin/env python3
"""One training step of a small Griffin in eager PyTorch on the CPU, for comparison with ours.

The shape is models/austen-tiny's: 6 layers (recurrent, recurrent, attention), width 192, 3 heads of 64, window 128, vocabulary 384.
A step is forward, cross-entropy, backward and torch's AdamW over 16 rows of 256 tokens; the scan doubles its span log2(256) times.
Prints one JSON line a storage type: the shortest of some steps, after one that is not counted.

usage: training_step.py [--threads 2] [--steps 5] [--rows 16] [--length 256] [--types float32,bfloat16]
"""
import argparse
import json
import platform
import time

import torch
from torch.nn import functional as F

from griffin_model import Griffin, Shape

AUSTEN_TINY = Shape(width=192, rnn_width=192, layers=6, heads=3, head_dim=64, blocks=3, mlp_width=576, vocabulary=384, window=128)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--types", default="float32,bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.types.split(","):
        torch.manual_seed(1)
        model = Griffin(AUSTEN_TINY).to(getattr(torch, name))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        tokens = torch.randint(3, 259, (options.rows, options.length + 1))
        seconds, loss = [], None
        for _ in range(options.steps + 1):
            start = time.perf_counter()
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({
            "row": "training_step", "peer": "pytorch-eager", "version": torch.__version__, "device": platform.processor() or platform.machine(), "threads": options.threads,
            "type": name, "rows": options.rows, "length": options.length, "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(min(seconds[1:]), 4), "loss": round(loss.item(), 4)}), flush=True)


if __name__ == "__main__":
    main()
