"""What portable arithmetic costs and what flushing denormals gains: `nox -s bench-arithmetic`.

Arithmetic is set when a process starts. So two processes, portable and native, hold the same network; they take turns
at one training step each, with denormals kept and flushed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import delrec
import pytest
from delrec_bench.arithmetic import Arithmetic, environment, pin_threads, prepare

from benchmarks.latency.contenders import SHAPES, Contender, make_network

ROOT = Path(__file__).parents[2]
Servers = Callable[[str, str], Callable[[], object]]


def serve(arithmetic: Arithmetic, name: str, readout: str) -> None:
    """Make a training step for each line that is read, "flushed" or "kept", and answer with a line."""
    pin_threads(1)
    prepare(arithmetic, 1)
    step = Contender(make_network(SHAPES[name], "axonal", 10.0, aggregate=readout), SHAPES[name]).works["train"]
    for line in sys.stdin:
        with delrec.flush_denormals() if line.strip() == "flushed" else nullcontext():
            step()
        print("done", flush=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = metafunc.config.getoption("--shapes") or ["SHD", "SSC", "PS-MNIST"]
    metafunc.parametrize("shape", names, scope="module")


@pytest.fixture(scope="module")
def step(pytestconfig: pytest.Config, shape: str) -> Iterator[Servers]:
    """Gives a training step by arithmetic and treatment of denormals."""
    words = [sys.executable, "-m", "benchmarks.latency.bench_arithmetic"]
    readout = pytestconfig.getoption("--readout")
    servers = {
        kind: subprocess.Popen(
            [*words, kind, shape, readout], cwd=ROOT, env=environment(kind), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for kind in ("portable", "native")
    }  # fmt: skip

    def of(kind: str, denormals: str) -> Callable[[], object]:
        def run() -> None:
            print(denormals, file=servers[kind].stdin, flush=True)
            assert servers[kind].stdout.readline(), f"the {kind} process ended"  # type: ignore[union-attr]

        return run

    yield of
    for server in servers.values():
        server.communicate()


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (("portable", "flushed"), ("native", "flushed")),
        (("portable", "kept"), ("portable", "flushed")),
        (("native", "kept"), ("native", "flushed")),
    ],
    ids=lambda words: "-".join(words),
)
def test_step(timed: Any, step: Servers, shape: str, ours: tuple[str, str], other: tuple[str, str]) -> None:
    """A training step against one of another arithmetic, or of the other treatment of denormals."""
    timed("arithmetic", shape, "train", ", ".join(ours), step(*ours), {", ".join(other): step(*other)})


if __name__ == "__main__":
    serve(*sys.argv[1:])  # type: ignore[arg-type]
