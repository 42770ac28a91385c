"""Training step, batch inference and batch-1 streaming of every method on every task's shape: `nox -s bench`.

Before each round of a method the no-delay network runs once, so that every ratio is of two times of one round. The
no-delay network's own row is measured against itself and must hold 1. Results become records of kind "latency",
those that `reproduce` would measure (`delrec_bench.latency`), and are kept in runs/.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from delrec_bench.latency import BASELINE, MODES, Subject, latency_record, subjects
from delrec_bench.latency.timing import quartiles, ratio
from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.records import write_record
from delrec_bench.tasks.base import TaskTable, find_tasks
from delrec_bench.workspace import find_workspace

from benchmarks.latency.pairing import Pairs


def _chosen(config: pytest.Config) -> tuple[MethodTable, TaskTable]:
    """Methods and tasks by --methods and --tasks; the baseline is always there."""
    methods, tasks = find_methods(), find_tasks()
    names = [name for name in config.getoption("--methods").split(",") if name]
    names = names or [name for name, m in methods.items() if m.quick and m.build is not None]
    where = [name for name in config.getoption("--tasks").split(",") if name]
    where = where or [name for name, t in tasks.items() if t.embedded]
    chosen = MethodTable({name: methods[name] for name in dict.fromkeys([BASELINE, *names])})
    return chosen, TaskTable({name: tasks[name] for name in where})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    methods, tasks = _chosen(metafunc.config)
    cells = [(t, m) for t in tasks for m in methods if methods[m].applicable(tasks[t]) is None]
    metafunc.parametrize(("task", "method"), cells, scope="module")


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, threads: int) -> Iterator[dict[str, dict[str, Subject]]]:
    """The subjects of the task in hand, built when a test first asks."""
    held: dict[str, dict[str, Subject]] = {}
    yield held
    for found in held.values():
        for subject in found.values():
            subject.settle.close()


@pytest.fixture(scope="module")
def measured(request: pytest.FixtureRequest, stage: Any) -> Iterator[dict[tuple[str, str], dict[str, Any]]]:
    """Rows by (task, method) and mode; at the end each becomes a record."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    yield rows
    workspace = find_workspace()
    for (task, method), modes in rows.items():
        ratios = {mode: ratio(row["seconds"], row["against"][BASELINE]["seconds"]) for mode, row in modes.items()}
        if method == BASELINE and not all(r.contains(1.0) for r in ratios.values()):
            warnings.warn(f"{task}: the no-delay network against itself does not hold 1: {ratios}", stacklevel=1)
        seconds = {mode: quartiles(row["seconds"]) for mode, row in modes.items()}
        record = latency_record(stage[task][method], ratios, seconds, request.config.getoption("--profile"))
        write_record(workspace.runs / record.key / "record.json", record)


@pytest.mark.parametrize("mode", MODES)
def test_method(
    benchmark: Any, request: pytest.FixtureRequest, stage: Any, measured: Any, quick: bool, threads: int,
    task: str, method: str, mode: str,
) -> None:  # fmt: skip
    """One method on one task."""
    if task not in stage:
        methods, tasks = _chosen(request.config)
        found = subjects(
            methods.values(), tasks[task], find_workspace(), request.config.getoption("--profile"), threads
        )
        stage[task] = {s.method.name: s for s in found}
    subject, baseline = stage[task][method], stage[task][BASELINE]
    work, yardstick = subject.work(mode), baseline.work(mode)
    if work is None or yardstick is None:
        pytest.skip(f"{method} does not stream")
    info = {"task": task, "mode": mode, "contender": method, "device": "cpu", "threads": threads}
    info["parameters"] = subject.model.count().total
    row = Pairs(work, {BASELINE: yardstick}, quick).run(benchmark, **info)
    if "seconds" in row:
        measured.setdefault((task, method), {})[mode] = row
