"""Options of the latency suites, and the one table that a run ends with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from delrec.engines.threads import keep_memory
from delrec_bench.arithmetic import pin_threads
from delrec_bench.environment import machine, provenance
from delrec_bench.workspace import write_atomic

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("latency", "latency suites of delrec-bench")
    group.addoption("--quick", action="store_true", help="three rounds; leaves out what takes minutes")
    group.addoption("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch and numba (all cores)")
    group.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="engines: where networks are")
    group.addoption("--shapes", help="engines: shapes, comma-separated (all three, on the cpu PS-MNIST-256 as well)")
    group.addoption(
        "--write", action="store_true", help="engines: write reports/engines.md (engines-cuda.md) and .json"
    )
    group.addoption("--plan", default="", help="methods: what to measure, as delrec-bench bench writes it")


def pytest_configure(config: pytest.Config) -> None:
    pin_threads(config.getoption("--threads"))
    keep_memory()
    config.rows = []  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What was measured, a dict a row; the table is made of it."""
    found: list[dict[str, Any]] = request.config.rows  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> int:
    count: int = request.config.getoption("--threads")
    return count


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.config.getoption("--device")
    return name


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None] | None:
    rows = config.rows  # type: ignore[attr-defined]
    if not rows:
        return None
    from benchmarks.latency.table import markdown

    device = config.getoption("--device")
    session, name = ("gpu", "engines-cuda") if device == "cuda" else ("bench-engines", "engines")
    about = {
        "machine": machine(device),
        "device": device,
        "threads": config.getoption("--threads"),
        "quick": config.getoption("--quick"),
        "command": f"nox -s {session}" + (" -- --quick" if config.getoption("--quick") else ""),
        "failed": len(terminalreporter.stats.get("failed", [])) + len(terminalreporter.stats.get("error", [])),
        **provenance(),
    }
    text = markdown(rows, about)
    terminalreporter.write_line("")
    terminalreporter.write_line(text)
    if config.getoption("--write"):
        write_atomic(ROOT / "reports" / f"{name}.md", text + "\n")
        content = json.dumps({"schema": 1, **about, "rows": rows})
        five = json.loads(content, parse_float=lambda text: float(f"{float(text):.5g}"))  # digits; no clock has more
        line = json.dumps(five, sort_keys=True, separators=(",", ":"))
        write_atomic(ROOT / "reports" / f"{name}.json", line + "\n")
        terminalreporter.write_line(f"wrote reports/{name}.md and reports/{name}.json")
    return None
