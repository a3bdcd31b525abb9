#!/usr/bin/env python3
"""Times the peers' side of bench/rows.json and appends a JSON line for each result.

usage: run.py [--rows GLOBS] [--peers NAMES] [--budget 4m] [--out FILE] [--scale full|tiny] [--device cuda|cpu] [--modes cold,chained]
       run.py --self-check      tiny rows on the CPU, every formula against loops; fails on a wrong result

Rows go by priority; a result that the file has already is not measured again, so a later call goes on where the budget ended.
"""
import argparse
import contextlib
import gc
import itertools
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import rows

PEERS = ["torch-eager", "torch-compile", "torch-sdpa", "torch-flex", "torch-associative-scan", "triton-sequential", "triton-associative",
         "transformers", "transformers-compile", "jax-associative", "jax-scan"]
SCANS = {"rg_lru", "linear_scan"}
MODELS = {"prefill", "decode", "training_step"}
ATTENTION = {"window_attention", "decode_attention"}
START_ANEW = 75  # the exit code of a process that is of no more use


def wanted(row, peer):
    """Whether a peer claims the row at all; a claim that it cannot keep becomes a reason in its line."""
    op = row["op"]
    if peer in ("torch-eager", "torch-compile"):
        return True
    if peer in ("torch-sdpa", "torch-flex"):
        return op == "window_attention" or (op == "decode_attention" and peer == "torch-sdpa")
    if peer == "torch-associative-scan" or peer.startswith(("triton", "jax")):
        return op in SCANS and row["pass"] != "step" or (op == "rg_lru_mixer" and not peer.startswith("jax"))
    return op == "decode" or (op == "prefill" and peer == "transformers")


def seconds(text):
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]] if text[-1] in "smh" else float(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="*", help="comma-separated globs; a bare word matches anywhere in an id")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--budget", default="4m")
    parser.add_argument("--out", default="peers.jsonl")
    parser.add_argument("--scale", choices=["full", "tiny"], default="full")
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--modes", default="cold,chained")
    parser.add_argument("--row-seconds", type=float, default=2.0, help="the longest that samples of one row and mode are taken")
    parser.add_argument("--attempt-seconds", type=float, default=120.0, help="the longest that one row of a peer may take in all, its compilation too")
    parser.add_argument("--self-check", action="store_true")
    options = parser.parse_args()
    unknown = set(options.peers.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))} (there are {', '.join(PEERS)})")
    return options


def device_and_driver(name):
    """(torch device, its name, the driver's version); one line and exit where there is none."""
    try:
        import torch
    except ImportError as error:
        sys.exit(f"bench/peers: no torch here ({error})")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        sys.exit("bench/peers: torch sees no GPU (--device cpu runs on the processor)")
    if name == "cpu":
        return torch.device("cpu"), f"cpu {platform.machine()}", "none"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # The current device is found as the streams and graphs of it are.
    device = torch.device("cuda", torch.cuda.current_device())
    try:
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=5).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return device, torch.cuda.get_device_name(device), driver


def op_of(row, device, peer):
    """(Op, function, variant) of a row for a peer that times single ops."""
    import torch

    import attention_torch
    import op_table
    import scans_torch
    from cases import NotMeasured

    if row["op"] in ATTENTION:
        make = attention_torch.window_attention if row["op"] == "window_attention" else attention_torch.decode_attention
        op, function, variant = make(row, device, peer)
    else:
        op = op_table.build(row, device)
        function, variant = op.forms.get(peer, op.forward), f"torch {torch.__version__}"
    forward_only = row["pass"] == "forward"
    if peer.startswith("triton"):
        if device.type != "cuda":
            raise NotMeasured("Triton needs a GPU")
        try:
            import scans_triton
        except ImportError as error:
            raise NotMeasured(f"no Triton here ({error})") from None
        kind = peer.split("-")[1]
        if row["op"] == "rg_lru" and forward_only:
            return op, getattr(scans_triton, f"rg_lru_{kind}"), "fused, by us"
        scan = getattr(scans_triton, f"scan_{kind}")
        if row["op"] == "linear_scan" and forward_only:
            return op, scan, "by us"
        return op, (lambda *inputs: op.forward(*inputs, scan=scan)), "scan by us, the rest eager"
    if peer == "torch-associative-scan":
        compiled = compiler()(scans_torch.associative_scan) if device.type == "cuda" else scans_torch.associative_scan
        return op, (lambda *inputs: op.forward(*inputs, scan=compiled)), "the scan compiled, the rest eager"
    if peer == "torch-compile":
        return op, compiler()(function), variant
    return op, function, variant


def compiler():
    import torch

    from cases import NotMeasured
    if not hasattr(torch, "compile"):
        raise NotMeasured(f"torch {torch.__version__} has no torch.compile")
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = False  # backward runs again and again on one forward
    return lambda function: torch.compile(function, dynamic=False)


def measure(row, peer, options, device, results):
    """Every mode of a row that the file does not have yet."""
    import timing
    from cases import NotMeasured

    if row["op"] in ("cost", "throughput", "decode_serial", "advance_rows"):
        raise NotMeasured("no peer runs this row")
    if peer.startswith("jax"):
        try:
            import scans_jax
        except ImportError as error:
            raise NotMeasured(f"no JAX here ({error})") from None
        timed, variant, relative = scans_jax.run(row, peer, options.row_seconds)
        return results.measured(row["id"], peer, "chained", variant, timed, relative)
    if row["op"] in MODELS:
        import model_torch
        import recurrent_gemma
        if peer.startswith("transformers"):
            extra = {"compiled": True} if peer.endswith("compile") else {}
            timed, variant, checksum = recurrent_gemma.ROWS[row["op"]](row, device, options.row_seconds, **extra)
        else:
            timed, variant, checksum = model_torch.ROWS[row["op"]](row, device, peer, options.row_seconds)
        return results.measured(row["id"], peer, "pipeline", variant, timed, None, checksum)
    op, function, variant = op_of(row, device, peer)
    relative, checksum = op.check(function, row["pass"])
    for mode in options.modes.split(","):
        if not results.has(row["id"], peer, mode):
            timed = timing.measure(lambda: op.bind(function, row["pass"]), op.bytes(), mode, device, options.row_seconds)
            results.measured(row["id"], peer, mode, variant, timed, relative, checksum)


def modes_of(row, peer, options):
    return ["chained"] if peer.startswith("jax") else ["pipeline"] if row["op"] in MODELS else options.modes.split(",")


def attempt(row, peer, options, device, results):
    """One row; whatever goes wrong is its reason. False when the process is of no more use."""
    from cases import NotMeasured
    try:
        with limited(options.attempt_seconds, lambda reason: results.not_measured(row["id"], peer, reason)):
            measure(row, peer, options, device, results)
    except NotMeasured as reason:
        results.not_measured(row["id"], peer, reason)
    except Exception as error:  # a peer's own failure, of any kind, must not end the others
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        results.not_measured(row["id"], peer, text)
        return "CUDA error" not in text
    finally:
        gc.collect()
        if device.type == "cuda" and "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
    return True


@contextlib.contextmanager
def limited(most, give_up):
    """Ends what takes too long, as a row that was not measured: by an exception, and the process itself where Python does not come to raise it."""
    reason = f"it did not end in {most:.0f} s"

    def over(*_):
        raise TimeoutError(reason)

    def end():
        give_up(reason)
        print(f"bench/peers: a call does not return: {reason}", file=sys.stderr)
        os._exit(START_ANEW)

    signal.signal(signal.SIGALRM, over)
    watchdog = threading.Timer(most * 1.5, end)
    watchdog.daemon = True
    watchdog.start()
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        watchdog.cancel()


def run(options):
    from results import Results
    end = time.monotonic() + seconds(options.budget)
    device, name, driver = device_and_driver(options.device)
    results = Results(options.out, name, driver, options.scale)
    peers = options.peers.split(",")
    jax = [peer for peer in peers if peer.startswith("jax")]
    in_this = [peer for peer in peers if peer not in jax] or jax
    left = 0
    for priority, group in itertools.groupby(rows.load(options.scale, options.rows), key=lambda row: row["priority"]):
        group = list(group)
        for row, peer in open_results(group, in_this, options, results):
            if time.monotonic() > end:
                left += 1
            elif not attempt(row, peer, options, device, results):
                print("bench/peers: the GPU reported an error; run again to go on", file=sys.stderr)
                return START_ANEW
        waiting = [] if in_this == jax else open_results(group, jax, options, results)
        if waiting and time.monotonic() < end:
            in_own_process(waiting, options, end)
            results.read()
            waiting = open_results(group, jax, options, results)
        left += len(waiting)
    if left:
        print(f"bench/peers: the budget ended with {left} results to go; run again to go on", file=sys.stderr)
    return 0


def open_results(group, peers, options, results):
    """(row, peer) pairs that are wanted and not there."""
    return [(row, peer) for row in group for peer in peers
            if wanted(row, peer) and not all(results.has(row["id"], peer, mode) for mode in modes_of(row, peer, options))]


def in_own_process(waiting, options, end):
    """JAX beside torch would share the card's memory badly: one process for a priority's rows."""
    ids = dict.fromkeys(row["id"] for row, _ in waiting)
    names = dict.fromkeys(peer for _, peer in waiting)
    command = [sys.executable, __file__, "--rows", ",".join(ids), "--peers", ",".join(names), "--out", options.out, "--scale", options.scale,
               "--device", options.device, "--row-seconds", str(options.row_seconds), "--attempt-seconds", str(options.attempt_seconds), "--budget", f"{end - time.monotonic():.0f}s"]
    try:
        subprocess.run(command, timeout=end - time.monotonic() + 60)
    except subprocess.TimeoutExpired:
        print(f"bench/peers: {', '.join(names)} did not end in time", file=sys.stderr)


def main():
    options = parse()
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    if options.self_check:
        import self_check
        with tempfile.TemporaryDirectory() as folder:
            return self_check.run(folder, run, wanted)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
