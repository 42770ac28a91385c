"""Latency as records: ratios to the no-delay network timed in the same rounds.

    measure(methods, tasks, workspace, budget_seconds=90, quick=True) -> list[Record]

`reproduce` calls `measure` once, after its runs. The suites of benchmarks/latency use `subjects`, `Subject` and
`latency_record` and time with pytest-benchmark: one code says what is measured, for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from delrec_bench.config import Request, Resolved
from delrec_bench.environment import machine, pin_threads, provenance
from delrec_bench.errors import BenchError
from delrec_bench.latency.networks import BASELINE, MODES, Subject, resolved_runs, subject
from delrec_bench.latency.timing import Quartiles, interleave, quartiles, ratio
from delrec_bench.methods.base import Method
from delrec_bench.records import RESULTS_VERSION, Record, finished_record, write_record
from delrec_bench.records import latency_key as key_of_latency
from delrec_bench.tasks.base import Task
from delrec_bench.workspace import Workspace

_ROUNDS = 31

Progress = Callable[[str], None]


def latency_key(resolved: Resolved) -> str:
    """The key of a latency record: that of the run, and the machine it is measured on."""
    return key_of_latency(resolved.key, BASELINE, machine())


def latency_record(
    of: Subject, ratios: Mapping[str, Quartiles | None], seconds: Mapping[str, Quartiles | None], profile: str
) -> Record:
    """The record of one method on one task.

    Args:
        of: What was measured.
        ratios: Mode -> ratio to the no-delay network; None where it does not apply or did not fit the time.
        seconds: Mode -> seconds of one step of training, one batch, one streamed sample.
        profile: The profile, for the command.
    """
    resolved = of.resolved
    data = resolved.data
    result: dict[str, Any] = {"baseline": BASELINE, "batch": int(of.inputs.shape[1])}
    for mode in MODES:
        value, raw = ratios.get(mode), seconds.get(mode)
        result[f"{mode}_ratio"] = None if value is None else value.median
        result[f"{mode}_ratio_iqr"] = None if value is None else [value.low, value.high]
        result[f"{mode}_ratio_sure"] = None if value is None else list(value.sure)
        result[f"{mode}_seconds"] = None if raw is None else raw.median
        result[f"{mode}_rounds"] = 0 if value is None else value.count
    counts = of.model.count()
    return Record(
        kind="latency",
        key=latency_key(resolved),
        method=resolved.method.name,
        task=data.name,
        repetition=0,
        configuration=resolved.configuration,
        data={name: value for name, value in data.identity().items() if name != "name"},
        metric=data.metric,
        result=result,
        control=resolved.method.control,
        learned=resolved.method.learned,
        engine=of.model.engines(),
        device=resolved.device,
        parameters={
            name: getattr(counts, name) for name in ("weights", "delays", "neuron", "trainable", "frozen", "total")
        },
        provenance={"results_version": RESULTS_VERSION, **provenance()},
        command="delrec-bench bench" if profile == "quick" else f"nox -s bench -- --profile {profile}",
        measured={"host": machine(), "finished_at": datetime.now(UTC).isoformat(timespec="seconds")},
    )


def measure(
    methods: Sequence[Method],
    tasks: Sequence[Task],
    workspace: Workspace,
    budget_seconds: float = 90.0,
    quick: bool = True,
    *,
    profile: str | None = None,
    threads: int = 1,
    requests: Sequence[Request] = (),
    progress: Progress | None = None,
) -> list[Record]:
    """Measure training step, batch inference and batch-1 streaming; one record of kind "latency" a method and task.

    A record that workspace.runs holds under the same key (configuration, data, machine) is returned as it is: a
    second call measures nothing.

    Args:
        methods: In the order of the table; those without a network are passed over.
        tasks: A task that the profile does not speak of is an error.
        workspace: Where records are kept.
        budget_seconds: Wall time for everything that is not there yet, shared equally by the tasks. The slowest
            methods of a task lose their place where it does not suffice: their ratio is then None.
        quick: The quick profile; else the paper's. `profile` names any other.
        threads: Threads of torch and numba.
        requests: A study's runs, whose data and settings are meant; else the profile's.
        progress: Called with one line a task and mode.

    Raises:
        BenchError: The budget is not above 0, or a request or its data is wrong.
    """
    if not budget_seconds > 0:
        raise BenchError(f"latency budget is {budget_seconds!r} seconds; it must be above 0")
    profile = profile or ("quick" if quick else "paper")
    say = progress or (lambda line: None)
    pin_threads(threads)
    done: dict[str, Record] = {}
    waiting: list[list[Resolved]] = []
    order: list[str] = []
    for task in tasks:
        runs = resolved_runs(methods, task, workspace, profile, threads, requests)
        order += [latency_key(p) for p in runs]
        found = [finished_record(workspace.runs, latency_key(p)) for p in runs]
        done |= {r.key: r for r in found if r is not None}
        if not all(found):
            waiting.append(runs)
    end = time.monotonic() + budget_seconds
    for n, runs in enumerate(waiting):
        share = max(0.1, (end - time.monotonic()) / (len(waiting) - n))
        for record in _measure_task(runs, share, profile, say):
            write_record(workspace.runs / record.key / "record.json", record)
            done[record.key] = record
    return [done[key] for key in order]


def _measure_task(runs: list[Resolved], seconds: float, profile: str, say: Progress) -> list[Record]:
    """Time all methods of a task together, so that each shares its rounds with the no-delay network."""
    start = time.monotonic()
    every = [subject(p) for p in runs]
    left = max(0.1, seconds - (time.monotonic() - start))
    ratios: dict[str, dict[str, Quartiles]] = {s.method.name: {} for s in every}
    raw: dict[str, dict[str, Quartiles]] = {s.method.name: {} for s in every}
    for mode, part in MODES.items():
        # The no-delay network runs twice a round: once as what all are compared with, once for its own row.
        works = {"": every[0].work(mode)} | {s.method.name: s.work(mode) for s in every}
        present = {name: work for name, work in works.items() if work is not None}
        if "" not in present:
            continue
        times = interleave(present, rounds=_ROUNDS, seconds=part * left)
        for name in times:
            if name:
                ratios[name][mode] = ratio(times[name], times[""])
                raw[name][mode] = quartiles(times[name])
        rounds = len(times[""])
        out = ", ".join(name for name in present if name not in times)
        say(
            f"{runs[0].data.name} {mode}: {len(times) - 1} methods, {rounds} rounds"
            + (f"; too slow for the time: {out}" if out else "")
        )
    records = [latency_record(s, ratios[s.method.name], raw[s.method.name], profile) for s in every]
    for s in every:
        s.settle.close()
    return records
