"""Training step, batch inference and batch 1 of methods on tasks' shapes: `delrec-bench bench` runs it by a plan.

Before each round of a method the no-delay network runs once on as many samples, so that every ratio is of two times of
one round. The no-delay network's own row is measured against itself and must hold 1. What was measured of a method is
written as a record before the next one is built.
"""

import pickle
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from delrec_bench.latency import BASELINE, MODES, Plan, Subject, label, opened, subject
from delrec_bench.latency.measuring import record_of
from delrec_bench.latency.timing import Times, time_in_turn
from delrec_bench.records import write_record


@lru_cache(1)
def plan_of(config: pytest.Config) -> Plan:
    """The plan that `delrec-bench bench` wrote to --plan."""
    return pickle.loads(Path(config.getoption("--plan")).read_bytes())


def built(plan: Plan, place: int, batch: int | None = None) -> Subject:
    """The subject of a planned run."""
    return subject(opened(plan.runs[place], *plan.place.tables(), plan.place.workspace), batch)


baseline_of = lru_cache(1)(built)  # the no-delay network of a batch


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    plan = plan_of(metafunc.config)
    metafunc.parametrize("place", plan.measure, ids=[label(plan.runs[i]) for i in plan.measure], scope="module")


@pytest.fixture(scope="module")
def pair(pytestconfig: pytest.Config, place: int) -> Iterator[tuple[Subject, Subject, dict[str, Times]]]:
    """A method's network, the no-delay one at its batch, and what is measured, of which a record is written at last."""
    plan, times = plan_of(pytestconfig), dict[str, Times]()
    rows = [(run.asked.method, run.asked.task) for run in plan.runs]
    yardstick = rows.index((BASELINE, rows[place][1]))
    network = built(plan, place)
    yield network, baseline_of(plan, yardstick, network.inputs.shape[1]), times
    if times:
        record = record_of(network, times, pytestconfig.getoption("--threads"), plan.command)
        write_record(plan.place.workspace.runs / record.key / "record.json", record)


@pytest.mark.parametrize("mode", MODES)
def test_method(benchmark: Any, pytestconfig: pytest.Config, pair: Any, mode: str) -> None:
    """One method on one task."""
    network, baseline, times = pair
    method, task = network.resolved.method.name, network.resolved.data.name
    yardstick, seconds = {BASELINE: baseline.work(mode)}, MODES[mode] * plan_of(pytestconfig).seconds
    quick, group = pytestconfig.getoption("--quick"), f"{task} {mode}"
    found = time_in_turn(benchmark, network.work(mode), yardstick, group=group, quick=quick, seconds=seconds)
    if not benchmark.enabled:
        return
    times[mode], over = found, found.over(BASELINE)
    benchmark.extra_info |= {"method": method, "task": task, "engine": network.engine(mode)}
    seconds = benchmark.stats.stats.median
    print(f" {task} | {mode} | {method}: {seconds:.4g} s, {over.median:.3g} x {BASELINE}", flush=True)
    if method == BASELINE and not over.sure[0] <= 1 <= over.sure[1]:
        warnings.warn(f"{task}, {mode}: the no-delay network against itself does not hold 1", stacklevel=1)
