"""Memory of one training step of one contender, in a process of its own.

    python -m benchmarks.latency.memory SHAPE CONTENDER

prints {"saved_bytes", "peak_bytes"} as JSON: live saved tensors (what autograd holds between forward and backward, each
storage once, parameters and inputs not counted) and the most memory the process held during its first step, less what
it held before the network was built.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from delrec_bench.environment import peak_bytes, pin_threads, reset_peak
from torch import Tensor

__all__ = ["measured", "saved_bytes"]


def saved_bytes(contender: Any) -> int:
    """Bytes that autograd keeps for the backward pass of one training step, each storage counted once."""
    own = {p.untyped_storage().data_ptr() for p in contender.network.parameters()}
    own |= {b.untyped_storage().data_ptr() for b in contender.network.buffers()}
    own.add(contender.inputs.untyped_storage().data_ptr())
    kept: dict[int, int] = {}
    held = []  # a storage that is freed would let its address be used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        contender.train()
    return sum(kept.values())


def measured(shape: str, contender: str, threads: int) -> dict[str, int]:
    """Run this module in a process of its own and return what it prints.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.latency.memory", shape, contender, str(threads)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(f"memory of {contender} on {shape}: {done.stderr.strip()[-500:]}")
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(shape: str, name: str, threads: str) -> None:
    """Print the memory of one contender."""
    pin_threads(int(threads))
    from benchmarks.latency.contenders import build
    from benchmarks.latency.shapes import SHAPES

    reset_peak()
    before = peak_bytes()
    contender = build(name, SHAPES[shape])
    contender.train()  # type: ignore[union-attr]
    peak = peak_bytes() - before
    print(json.dumps({"saved_bytes": saved_bytes(contender), "peak_bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
