"""Memory of one training step of one contender, in a process of its own.

    python -m benchmarks.latency.memory SHAPE CONTENDER THREADS DEVICE

prints {"saved_bytes", "peak_bytes"} as JSON: what a step holds between its forward and its backward pass, parameters
and inputs not counted; and the most memory that the process held during its first step, less what it held before the
network was built: on a card, the most that torch had allocated there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from delrec_bench.arithmetic import pin_threads
from delrec_bench.environment import peak_bytes, reset_peak
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

__all__ = ["measured", "saved_bytes"]


def saved_bytes(contender: Any) -> int:
    """Bytes that are held between the forward and the backward pass of a training step, and were not before."""
    contender.network.train()
    contender.optimiser.zero_grad()

    def forward() -> Tensor:
        loss: Tensor = contender.loss(contender.network(contender.inputs), contender.targets)
        return loss

    if contender.inputs.is_cuda:
        before = torch.cuda.memory_allocated()
        loss = forward()
        held = torch.cuda.memory_allocated() - before
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            loss = forward()
        held = sum(e.nbytes() for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")  # type: ignore[union-attr]
    del loss
    return held


def measured(shape: str, contender: str, threads: int, device: str) -> dict[str, int]:
    """Run this module in a process of its own and return what it prints.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    module = [sys.executable, "-W", "ignore", "-m", "benchmarks.latency.memory"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*module, shape, contender, str(threads), device], capture_output=True, text=True, check=False, cwd=root
    )
    if done.returncode:
        raise RuntimeError(f"memory of {contender} on {shape}: {done.stderr.strip()[-2000:]}")
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(shape: str, name: str, threads: str, device: str) -> None:
    """Print the memory of one contender."""
    pin_threads(int(threads))
    from benchmarks.latency.contenders import build
    from benchmarks.latency.shapes import on

    reset_peak()
    before = peak_bytes()
    contender = build(name, on(shape, device))
    contender.train()  # type: ignore[union-attr]
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_bytes() - before
    print(json.dumps({"saved_bytes": saved_bytes(contender), "peak_bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
