"""Latency of every method on every task's shape, as ratios to the no-delay network timed in the same rounds.

    measure(methods, tasks, workspace, budget_seconds=90, quick=True) -> list[Record]

`reproduce` calls `measure` once, after its runs. The suites of benchmarks/latency use `subjects`, `Subject` and
`latency_record` of this module and time with pytest-benchmark: one code says what is measured, for both.

Three things are timed, on one batch of the task's training samples:
    train    a whole training step: forward, loss, backward, optimiser, clamping; learning rates are 0, so that every
             round does the same work
    infer    the batch's scores, as deployed (rounded delays, sigma 0)
    batch1   streaming: one sample, one step of input after the other, as deployed
The no-delay network is timed twice in every round, and its row is the ratio of the two: it must hold 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from delrec import RecurrentDelays, SpikingLayer
from delrec.networks import Network
from torch import Tensor

from delrec_bench.configuration import Request, defaults
from delrec_bench.environment import machine, pin_threads, provenance
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method, MethodTable, find_methods
from delrec_bench.preparation import Prepared, build, prepare
from delrec_bench.records import RESULTS_VERSION, Record, finished_record, run_key, write_record
from delrec_bench.tasks.base import Task, TaskTable
from delrec_bench.timing import Quartiles, interleave, quartiles, ratio
from delrec_bench.training import Optimisation
from delrec_bench.workspace import Workspace

__all__ = ["BASELINE", "MODES", "Subject", "latency_key", "latency_record", "measure", "subjects"]

BASELINE = "lif"
MODES: Mapping[str, float] = {"train": 0.5, "infer": 0.2, "batch1": 0.3}
"""What is timed, and its share of a task's budget."""

_ROUNDS = 31

Progress = Callable[[str], None]


@dataclass
class Subject:
    """One method on one task's shape, ready to be timed.

    Attributes:
        prepared: The run whose configuration, data and key are meant.
        model: The network, its sigma that of the first epoch, and `deployed` a second one as deployed.
        inputs, targets: A batch, (T, B, C) and (B,).
        settle: Holds `deployed` in its state; closing it restores the delays.
    """

    prepared: Prepared
    model: Any
    deployed: Any
    optimisation: Optimisation
    inputs: Tensor
    targets: Tensor
    settle: ExitStack

    @property
    def method(self) -> Method:
        """The method."""
        return self.prepared.resolved.method

    def work(self, mode: str) -> Callable[[], object] | None:
        """What is timed in `mode`, or None where it does not apply (a network that cannot stream)."""
        if mode == "train":
            return self.train_step
        if mode == "infer":
            return self.infer
        return self.stream if self.deployed.streams else None

    def train_step(self) -> None:
        """A whole training step."""
        self.model.train()
        loss = self.model.loss(self.model.classify(self.inputs), self.targets)
        self.optimisation.step(loss + self.model.penalty())
        self.model.after_step()

    @torch.no_grad()
    def infer(self) -> Tensor:
        """Scores of the batch (B, classes)."""
        scores: Tensor = self.deployed.classify(self.inputs)
        return scores

    @torch.no_grad()
    def stream(self) -> Tensor:
        """Output of the last step (1, classes) of the batch's first sample, fed step by step."""
        return stream(self.streamer, self.inputs[:, :1])

    @cached_property
    def streamer(self) -> Any:
        """The deployed network as it streams (see `streaming`)."""
        return streaming(self.deployed)


def streaming(network: Any) -> Any:
    """The network by events, where core's events engine runs it (a `Network` of core's own layers); else itself."""
    own = type(network) is Network and all(type(b.spiking) in (SpikingLayer, RecurrentDelays) for b in network.blocks)
    if own and network.config.engine in ("auto", "cpu", "events") and find_spec("delrec.engines.events"):
        events = import_module("delrec.engines.events")
        with suppress(ValueError):  # neurons that it cannot compile
            return events.EventNetwork(network)
    return network


def stream(network: Any, inputs: Tensor) -> Tensor:
    """Feed (T, 1, C) to what `streaming` returned, a step at a time from rest; return the last output (1, classes)."""
    output = inputs
    if hasattr(network, "reset"):
        network.reset()
        for x in inputs:
            output = network.step(x)
        return output
    state = network.initial_state(inputs.shape[1])
    for x in inputs:
        output, state = network.step(x, state)
    return output


def subject(prepared: Prepared) -> Subject:
    """Build the network of a prepared run, twice, and take the first batch of its training samples."""
    resolved, data = prepared.resolved, prepared.data
    training = replace(
        resolved.training,
        lr_weights=0.0,
        lr_delays=0.0,
        lr_neuron=None,
        schedule_weights="constant",
        schedule_delays="constant",
    )
    indices = torch.arange(min(training.batch, len(data.train)))
    dtype = torch.float64 if resolved.dtype == "float64" else torch.float32
    model, deployed = build(prepared), build(prepared)
    model.begin_epoch(0, training.epochs)
    settle = ExitStack()
    settle.enter_context(deployed.deployed())
    return Subject(
        prepared=prepared,
        model=model,
        deployed=deployed,
        optimisation=Optimisation(model, training, data.metric),
        inputs=data.train.batch(indices).to(dtype),
        targets=data.train.targets[indices],
        settle=settle,
    )


def prepared_runs(
    methods: Iterable[Method],
    task: Task,
    workspace: Workspace,
    profile: str,
    threads: int,
    requests: Iterable[Request] = (),
) -> list[Prepared]:
    """Prepare repetition 0 of every method that applies to the task and has a network, the baseline first.

    A study's `requests` say with which data and settings; a baseline outside the study takes those of its first.
    """
    asked = {request.method: request for request in requests if request.task == task.name}
    usual = next(iter(asked.values()), Request(BASELINE, task.name, profile=profile))
    table = MethodTable({m.name: m for m in methods})
    if BASELINE not in table:
        table[BASELINE] = find_methods()[BASELINE]
    # One load serves all methods whose options are equal.
    tasks = TaskTable({task.name: replace(task, load=cache(task.load))})
    names = [BASELINE, *(name for name in table if name != BASELINE)]
    found = []
    for name in names:
        if table[name].build is None or table[name].applicable(task) is not None:
            continue
        known = defaults(table[name])
        shared = tuple((key, value) for key, value in usual.overrides if key in known)
        request = asked.get(name, replace(usual, method=name, overrides=shared))
        found.append(prepare(replace(request, repetition=0, threads=threads), table, tasks, workspace))
    return found


def subjects(
    methods: Iterable[Method], task: Task, workspace: Workspace, profile: str = "quick", threads: int = 1
) -> list[Subject]:
    """Build every method's `Subject` on a task; the no-delay network first.

    Raises:
        BenchError: The profile says nothing about the task, or its data is wrong.
    """
    return [subject(p) for p in prepared_runs(methods, task, workspace, profile, threads)]


def latency_key(prepared: Prepared) -> str:
    """The key of a latency record: that of the run, and the machine it is measured on."""
    return run_key({"kind": "latency", "baseline": BASELINE, "host": machine()}, {"run": prepared.key})


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
    resolved, data = of.prepared.resolved, of.prepared.data
    result: dict[str, Any] = {"baseline": BASELINE, "batch": int(of.inputs.shape[1])}
    for mode in MODES:
        value, raw = ratios.get(mode), seconds.get(mode)
        result[f"{mode}_ratio"] = None if value is None else value.median
        result[f"{mode}_ratio_iqr"] = None if value is None else [value.low, value.high]
        result[f"{mode}_ratio_sure"] = None if value is None else list(value.sure)
        result[f"{mode}_seconds"] = None if raw is None else raw.median
        result[f"{mode}_rounds"] = 0 if value is None else value.count
    counts = of.model.count()
    names = ("name", "kind", "digest", "classes", "channels", "steps", "step_ms", "representation")
    return Record(
        kind="latency",
        key=latency_key(of.prepared),
        method=resolved.method.name,
        task=data.name,
        repetition=0,
        configuration=of.prepared.configuration,
        data={name: getattr(data, name) for name in names if name != "name"},
        metric=data.metric,
        result=result,
        control=resolved.method.control,
        learned=resolved.method.learned,
        engine=of.model.engines(),
        device=of.prepared.configuration["device"],
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
    waiting: list[list[Prepared]] = []
    order: list[str] = []
    for task in tasks:
        runs = prepared_runs(methods, task, workspace, profile, threads, requests)
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


def _measure_task(runs: list[Prepared], seconds: float, profile: str, say: Progress) -> list[Record]:
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
