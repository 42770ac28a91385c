"""Training step, batch inference and batch 1 of methods on tasks' shapes: `delrec-bench bench` runs it by a plan.

Before each round of a method the no-delay network runs once on as many samples, so that every ratio is of two times of
one round. The no-delay network's own row is measured against itself and must hold 1. What identifies a measurement is
in `extra_info`, of which `delrec_bench.latency.import_json` makes a record.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from delrec_bench.config import Request
from delrec_bench.environment import machine, provenance
from delrec_bench.latency import BASELINE, MODES, About, Measured, Plan, Subject, as_requests, cells, resolved, subject
from delrec_bench.latency.timing import ratio
from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.records import RESULTS_VERSION
from delrec_bench.tasks.base import TaskTable, find_tasks
from delrec_bench.workspace import find_workspace

from benchmarks.latency.pairing import Pairs

COUNTS = ("weights", "delays", "neuron", "trainable", "frozen", "total")


class Stage:
    """The no-delay network and the method in hand; the last one is dropped first, for its memory."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.requests = plan, plan.as_requests()
        self.methods, self.tasks = tables(plan)
        self.workspace = find_workspace(plan.root, plan.runs)
        self.held: dict[str, tuple[Request, Subject]] = {}

    def pair(self, place: int) -> tuple[Subject, Subject]:
        """The subject of a request, and the no-delay network at its batch."""
        request = self.requests[place]
        where = (request.task, request.data)
        ours = next(r for r in self.requests if r.method == BASELINE and (r.task, r.data) == where)
        baseline = self._take("baseline", ours)
        found = baseline if request == ours else self._take("method", request)
        found.take(found.fitted)
        baseline.take(found.fitted)
        return found, baseline

    def _take(self, role: str, request: Request) -> Subject:
        if role not in self.held or self.held[role][0] != request:
            self.drop(role)
            found = subject(resolved(request, self.methods, self.tasks, self.workspace))
            found.fit()
            self.held[role] = (request, found)
        return self.held[role][1]

    def drop(self, role: str) -> None:
        """Forget a subject."""
        if role in self.held:
            self.held.pop(role)[1].settle.close()
            gc.collect()


def tables(plan: Plan) -> tuple[MethodTable, TaskTable]:
    """Every method and task, those of the plan's folders included."""
    return find_methods(plan.methods), find_tasks(plan.tasks)


def planned(config: pytest.Config) -> Plan:
    """The plan of --plan; without it the quick methods on the embedded tasks, of the checkout here."""
    path = config.getoption("--plan")
    if path:
        return Plan.read(Path(path))
    methods, tasks = find_methods(), find_tasks()
    chosen = [name for name, m in methods.items() if m.board and m.build is not None]
    embedded = [name for name, task in tasks.items() if task.embedded]
    threads = config.getoption("--threads")
    requests = cells(as_requests(chosen, embedded, methods, tasks, "quick", threads), methods, tasks)
    workspace = find_workspace()
    return Plan(
        root=str(workspace.root), runs=str(workspace.runs), requests=[asdict(r) for r in requests],
        measure=list(range(len(requests))), seconds=2.0, command=f"python -m pytest {Path(__file__).name}",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    plan = planned(metafunc.config)
    names = [f"{plan.requests[i]['task']}-{plan.requests[i]['method']}" for i in plan.measure]
    metafunc.parametrize("place", plan.measure, ids=names, scope="module")


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """What is measured now."""
    found = Stage(planned(request.config))
    yield found
    for role in ("method", "baseline"):
        found.drop(role)


def about(found: Subject, plan: Plan, threads: int) -> About:
    """What identifies the measurements of a subject."""
    resolved, counts = found.resolved, found.model.count()
    data = {name: value for name, value in resolved.data.identity().items() if name != "name"}
    return About(
        method=resolved.method.name,
        task=resolved.data.name,
        configuration=resolved.configuration,
        data=data | {"stamp": resolved.data.stamp, "notes": list(resolved.data.notes)},
        metric=resolved.data.metric,
        control=resolved.method.control,
        learned=resolved.method.learned,
        device=resolved.device,
        parameters={name: getattr(counts, name) for name in COUNTS},
        provenance={"results_version": RESULTS_VERSION, **provenance()},
        command=plan.command,
        run=resolved.key,
        baseline=BASELINE,
        batch=found.fitted,
        published_batch=resolved.training.batch,
        rates=found.rates,
        threads=threads,
        host=machine(resolved.device),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@pytest.mark.parametrize("mode", MODES)
def test_method(benchmark: Any, stage: Stage, quick: bool, threads: int, place: int, mode: str) -> None:
    """One method on one task."""
    found, baseline = stage.pair(place)
    what = about(found, stage.plan, threads)
    pairs = Pairs(found.work(mode), {BASELINE: baseline.work(mode)}, quick, seconds=MODES[mode] * stage.plan.seconds)
    row = pairs.run(benchmark, task=what.task, mode=mode, contender=what.method)
    if "seconds" not in row:
        return  # --benchmark-disable
    against = row["against"][BASELINE]["seconds"]
    if what.method == BASELINE and not ratio(row["seconds"], against).contains(1.0):
        warnings.warn(f"{what.task}, {mode}: the no-delay network against itself does not hold 1", stacklevel=1)
    info = Measured(delrec=1, mode=mode, engine=found.engine(mode), baseline_seconds=against, about=what)  # type: ignore[arg-type]
    benchmark.extra_info.clear()
    benchmark.extra_info.update(info.model_dump())
