"""Options of the latency suites, the one way in which they time, and the page that a run ends with."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from delrec.engines.threads import keep_memory
from delrec_bench.arithmetic import pin_threads
from delrec_bench.environment import machine, provenance
from delrec_bench.latency.timing import Work, quartiles, time_in_turn
from delrec_bench.workspace import write_atomic

from benchmarks.latency.contenders import SHAPES
from benchmarks.latency.page import Row, markdown

ROOT = Path(__file__).parents[2]
ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("latency", "latency suites of delrec-bench")
    group.addoption("--quick", action="store_true", help="three rounds")
    group.addoption("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch and numba (all cores)")
    group.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="engines: where networks are")
    group.addoption("--shapes", action="append", choices=list(SHAPES), help="engines: these shapes alone")
    group.addoption("--write", action="store_true", help="engines: write reports/engines.md or engines-cuda.md")
    group.addoption("--plan", help="methods: what to measure, as delrec-bench bench writes it")


def pytest_configure(config: pytest.Config) -> None:
    pin_threads(config.getoption("--threads"))
    keep_memory()
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """What was measured."""
    return pytestconfig.stash[ROWS]


@pytest.fixture
def timed(benchmark: Any, pytestconfig: pytest.Config, rows: list[Row]) -> Callable[..., None]:
    """Times a contender beside its yardsticks, and makes a row of it."""
    quick, threads, device = (pytestconfig.getoption(f"--{name}") for name in ("quick", "threads", "device"))

    def run(
        suite: str, shape: str, mode: str, contender: str, work: Work, yardsticks: Mapping[str, Work], note: str = ""
    ) -> None:
        times = time_in_turn(benchmark, work, yardsticks, group=f"{shape} {mode}", quick=quick)
        benchmark.extra_info |= {"contender": contender, "note": note, "threads": threads, "device": device}
        if benchmark.enabled:
            against = {name: times.over(name) for name in yardsticks}
            row = Row(suite, shape, mode, contender, quartiles(times.own), against, note)
            rows.append(row)
            print(f" {shape} | {mode} | {contender}: {row.ratios()}", flush=True)

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not (rows := config.stash[ROWS]):
        return
    device, made = config.getoption("--device"), provenance()
    command = "nox -s gpu" if device == "cuda" else f"nox -s bench-{rows[0].suite}"
    versions = ", ".join(f"{name} {made['versions'].get(name)}" for name in ("torch", "numba"))
    changed = " (changed)" if made["dirty"] else ""
    parts = [machine(device), f"{config.getoption('--threads')} threads", versions]
    parts.append(f"revision {made['revision'][:12]}{changed}. Made again by `{command}`")
    failed = sum(len(terminalreporter.stats.get(kind, [])) for kind in ("failed", "error"))
    text = markdown(rows, "; ".join(parts), failed)
    terminalreporter.write_line(f"\n{text}")
    if config.getoption("--write"):
        path = ROOT / "reports" / ("engines-cuda.md" if device == "cuda" else "engines.md")
        write_atomic(path, f"{text}\n")
        terminalreporter.write_line(f"wrote {path}")
