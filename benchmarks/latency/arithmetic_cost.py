"""What portable arithmetic costs and what flushing denormals gains: `nox -s bench-arithmetic`.

Arithmetic is set when a process starts. So two processes, portable and native, hold the same network; they take turns
at one training step each (A B A B), with denormals kept and flushed. Ratios are of two times of one round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import quantiles

from delrec_bench.arithmetic import Arithmetic, environment, pin_threads, prepare

ROOT = Path(__file__).parents[2]
SHAPES = ("SHD", "SSC", "PS-MNIST")


def serve(arithmetic: Arithmetic, shape: str, readout: str) -> None:
    """Time a training step for each line read: "flush" or "keep"; write the seconds."""
    pin_threads(1)
    prepare(arithmetic, 1)

    import delrec

    from benchmarks.latency.contenders import Contender, network_of
    from benchmarks.latency.shapes import SHAPES

    step = Contender(network_of(SHAPES[shape], "axonal", 10.0, aggregate=readout), SHAPES[shape]).work("train")
    assert step is not None
    for line in sys.stdin:
        with delrec.flush_denormals() if line.strip() == "flush" else nullcontext():
            start = time.perf_counter()
            step()
            print(time.perf_counter() - start, flush=True)


def measure(shape: str, readout: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of the training step of each arithmetic and treatment of denormals, round by round."""
    kinds: tuple[Arithmetic, ...] = ("portable", "native")
    servers = {}
    for kind in kinds:
        words = [sys.executable, "-m", "benchmarks.latency.arithmetic_cost", "--serve", kind]
        words += ["--shapes", shape, "--readout", readout]
        servers[kind] = subprocess.Popen(
            words, cwd=ROOT, env=environment(kind), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):  # the first compiles
        for denormals in ("flush", "keep"):
            for kind, server in servers.items():
                assert server.stdin and server.stdout
                server.stdin.write(f"{denormals}\n")
                server.stdin.flush()
                taken = float(server.stdout.readline())
                if number:
                    seconds.setdefault(f"{kind}, {denormals}", []).append(taken)
    for server in servers.values():
        server.communicate()
    return seconds


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> str:
    """Median ratio and quartiles of two columns."""
    low, middle, high = quantiles([a / b for a, b in zip(seconds[over], seconds[under], strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="Rounds of each shape.")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), help="Names of benchmarks/latency/shapes.py.")
    parser.add_argument("--readout", default="sum", help="sum: a gradient at every step; last: at the last one only.")
    parser.add_argument("--serve", choices=("portable", "native"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        serve(wanted.serve, wanted.shapes[0], wanted.readout)
        return
    print("| shape | portable / native | kept / flushed (portable) | kept / flushed (native) |")
    print("| :-- | --: | --: | --: |")
    for shape in wanted.shapes:
        found = measure(shape, wanted.readout, wanted.rounds)
        cells = (
            ratio(found, "portable, flush", "native, flush"),
            ratio(found, "portable, keep", "portable, flush"),
            ratio(found, "native, keep", "native, flush"),
        )
        print(f"| {shape} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
