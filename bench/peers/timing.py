"""Times a call as spec and harness ask: warmed until three medians agree, at least 30 samples, short ones as replays of a graph.

A case gives bound calls, each with buffers of its own. cold: as many as fill four times the level-2 cache, one after the other, so
that each finds its inputs in memory only. chained: one, again and again. What a call returns is kept alive while its graph lives, so
that outputs rotate too.
"""
import statistics
import subprocess
import time

import torch

SAMPLES, AGREE, BLOCK = 30, 0.01, 5
GRAPH_CALLS, MOST_COPIES = 20, 256
GRAPH_BELOW_US = 5000.0


def copies_for(bytes_per_call, mode, device):
    if mode != "cold" or device.type != "cuda":
        return 1
    cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 50 << 20)
    return max(1, min(MOST_COPIES, -(-4 * cache // max(1, bytes_per_call))))


def clock_and_power():
    """(SM clock in MHz, power in W); None where nvidia-smi does not tell."""
    try:
        text = subprocess.run(["nvidia-smi", "--query-gpu=clocks.sm,power.draw", "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, timeout=5, check=True).stdout
        clock, power = text.splitlines()[0].split(",")
        return float(clock), float(power)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None, None


def settle(sample, longest):
    """Samples until three medians in a row agree, for at most so many seconds."""
    medians, end = [], time.perf_counter() + longest
    while time.perf_counter() < end:
        medians.append(statistics.median(sample() for _ in range(BLOCK)))
        last = medians[-3:]
        if len(last) == 3 and max(last) - min(last) <= AGREE * min(last):
            return


def collect(sample, longest, count=SAMPLES):
    """count samples, or as many (two at least) as so many seconds allow."""
    values, end = [], time.perf_counter() + longest
    while len(values) < count and (len(values) < 2 or time.perf_counter() < end):
        values.append(sample())
    return values


def summary(samples_us, kind, before=(None, None), after=(None, None)):
    ordered = sorted(samples_us)

    def quantile(q):
        return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)

    return {"median_us": round(statistics.median(ordered), 3), "p10_us": quantile(0.1), "p90_us": quantile(0.9), "samples": len(ordered),
            "timing": kind, "sm_clock_mhz": [before[0], after[0]], "power_w": [before[1], after[1]]}


def measure(bind, bytes_per_call, mode, device, longest=2.0):
    """The timing of one call; bind() makes a call bound to new buffers."""
    return _measure_cuda(bind, bytes_per_call, mode, device, longest) if device.type == "cuda" else _measure_host(bind, longest)


def _measure_host(bind, longest):
    call = bind()

    def sample():
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e6

    call()
    settle(sample, longest / 4)
    return summary(collect(sample, longest), "host")


def _measure_cuda(bind, bytes_per_call, mode, device, longest):
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):  # autograd runs backward on the stream of the forward: everything on this one
        calls = [bind() for _ in range(copies_for(bytes_per_call, mode, device))]
        for call in calls[:3] * 3:
            call()
        eager = _timed_on(stream, lambda turn: calls[turn % len(calls)](), 1)
        unit, kind, kept = eager, "stream", []
        if statistics.median(eager() for _ in range(3)) < GRAPH_BELOW_US:
            try:
                graph, count = torch.cuda.CUDAGraph(), max(GRAPH_CALLS, len(calls))
                with torch.cuda.graph(graph, stream=stream):
                    for turn in range(count):
                        kept.append(calls[turn % len(calls)]())
                        if mode != "cold":
                            kept.clear()
                unit, kind = _timed_on(stream, lambda _: graph.replay(), count), "graph"
            except RuntimeError:  # something in the call cannot be captured
                torch.cuda.synchronize(device)
        settle(unit, longest / 2)
        before = clock_and_power()
        samples = collect(unit, longest)
        after = clock_and_power()
    torch.cuda.current_stream(device).wait_stream(stream)
    return summary(samples, kind, before, after)


def _timed_on(stream, call, calls_inside):
    turn = 0

    def sample():
        nonlocal turn
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(stream)
        call(turn)
        end.record(stream)
        end.synchronize()
        turn += 1
        return start.elapsed_time(end) * 1e3 / calls_inside

    return sample
