"""What is timed: a method's network at a run's settings, on one batch of the published size.

    train    a whole training step: forward, loss, backward, optimiser, clamping; learning rates are 0, so that every
             round does the same work
    infer    the batch's scores, as deployed (rounded delays, sigma 0)
    batch1   the scores of one whole sample, by the engine a network is deployed with: by events where it can, on a CPU

On a CUDA device each ends when the device has done it, and a batch is as configured: one that the card's memory does
not hold is torch's error.

The no-delay network stands beside it with as many samples, and its own row is a ratio of equals: it must hold 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import torch
from delrec import RecurrentDelays, SpikingLayer, flush_denormals
from delrec.engines.events import EventNetwork
from torch import Tensor

from delrec_bench.config import Device, Request, Resolved, defaults, resolve
from delrec_bench.environment import free_bytes, need_device, peak_bytes, reset_peak
from delrec_bench.latency.drawn import with_drawn_inputs
from delrec_bench.latency.firing import fire, spike_rates, take_over
from delrec_bench.latency.timing import finished
from delrec_bench.methods.base import MethodTable, find_methods
from delrec_bench.networks import Network
from delrec_bench.tasks.base import TaskTable
from delrec_bench.training import Optimisation, build, multiplying
from delrec_bench.workspace import Workspace

BASELINE = "lif"
MODES = {"train": 0.5, "infer": 0.2, "batch1": 0.3}
"""What is timed, and its share of a method's time."""

_ROOM = 0.8  # share of the free memory that a training step may take
_SMALL = 32  # samples that are taken to fit


def events(network: Any) -> EventNetwork | None:
    """The network by events, where that engine runs it (a `Network` of core's own layers); else None."""
    own = type(network) is Network and all(type(b.spiking) in (SpikingLayer, RecurrentDelays) for b in network.blocks)
    if own and network.config.engine in ("auto", "cpu", "events"):
        with suppress(ValueError):  # neurons that it cannot compile, padding from the future
            return EventNetwork(network)
    return None


@dataclass
class Subject:
    """One method on one task's shape, ready to be timed.

    Attributes:
        resolved: The run whose configuration, data and key are meant.
        model: The network, its sigma that of the first epoch.
        deployed: A second one as deployed, of the same values.
        batch: Samples of a batch now.
        fitted: Samples of a batch as configured, or fewer where memory does not hold them (`fit`).
        by_events: `deployed` by events, or None.
        rates: Spikes per neuron and step of each layer.
        settle: Holds `deployed` in its state; closing it restores the delays.
    """

    resolved: Resolved
    model: Any
    deployed: Any
    optimisation: Optimisation
    batch: int
    by_events: EventNetwork | None = None
    rates: list[float] = field(default_factory=list)
    settle: ExitStack = field(default_factory=ExitStack)
    fitted: int = field(init=False)
    inputs: Tensor = field(init=False)
    targets: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.fitted = self.batch
        self.take(self.batch)

    def take(self, batch: int) -> None:
        """Time batches of so many samples from now on: the first training samples, again from the start if too few."""
        data = self.resolved.data
        indices = torch.arange(batch) % len(data.train)
        dtype = torch.float64 if self.resolved.dtype == "float64" else torch.float32
        self.batch = batch
        device = self.resolved.device
        self.inputs = data.train.batch(indices, device).to(dtype)
        self.targets = data.train.targets[indices].to(device)

    def work(self, mode: str) -> Callable[[], object]:
        """What is timed in `mode`."""
        work = {"train": self.train_step, "infer": self.infer, "batch1": self.single}[mode]
        return finished(multiplying(self.resolved)(work), self.resolved.device)

    def engine(self, mode: str) -> str:
        """What ran in `mode`, after it has."""
        if mode == "batch1" and self.by_events is not None:
            return "events"
        name: str = (self.model if mode == "train" else self.deployed).engines()
        return name

    @flush_denormals()
    def train_step(self) -> None:
        """A whole training step, as the training loop makes it."""
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
    def single(self) -> Tensor:
        """Scores (1, classes) of the batch's first sample."""
        network = self.deployed if self.by_events is None else self.by_events
        scores: Tensor = network.classify(self.inputs[:, :1])
        return scores

    def fit(self) -> None:
        """Halve the batch until a training step fits the memory that is free, as two small steps tell."""
        wanted = self.batch
        if wanted <= _SMALL or self.resolved.device != "cpu":
            return
        peaks = []
        for size in (few := wanted // 16, 2 * few):
            self.take(size)
            reset_peak()
            self.train_step()
            peaks.append(peak_bytes())
        a_sample = max(0, peaks[1] - peaks[0]) / few
        room = _ROOM * free_bytes() + peaks[1] - psutil.Process().memory_info().rss
        while wanted > _SMALL and a_sample * wanted > room:
            wanted //= 2
        self.fitted = wanted
        self.take(wanted)


def subject(resolved: Resolved) -> Subject:
    """Build the network of a resolved run, twice, and bring both to realistic spike rates."""
    data = resolved.data
    still: dict[str, Any] = {"lr_weights": 0.0, "lr_delays": 0.0, "lr_neuron": None}
    training = replace(resolved.training, **still, schedule_weights="constant", schedule_delays="constant")
    model, deployed = build(resolved), build(resolved)
    batch = training.batch if data.kind == "DRAWN" else min(training.batch, len(data.train))
    found = Subject(resolved, model, deployed, Optimisation(model, training, data.metric, updates=1), batch)
    model.begin_epoch(0, training.epochs)
    found.settle.enter_context(deployed.deployed())
    fire(deployed, found.inputs)
    for block, fired in zip(getattr(model, "blocks", ()), getattr(deployed, "blocks", ()), strict=True):
        take_over(block, fired)
    found.by_events = events(deployed) if resolved.device == "cpu" else None
    found.rates = spike_rates(deployed, found.inputs)
    return found


def cells(requests: Iterable[Request], methods: MethodTable, tasks: TaskTable) -> list[Request]:
    """What is to be measured of a study's requests: each network once on each task, the no-delay network first.

    Where a task's requests lack the no-delay network, it is added with the settings of the first of them.
    """
    found: dict[tuple[str, str, str | None], Request] = {}
    every = [r for r in requests if methods[r.method].build is not None]
    for task in dict.fromkeys(r.task for r in every):
        of_task = [r for r in every if r.task == task]
        known, usual = defaults(_known(methods)[BASELINE]), of_task[0]
        shared = tuple((key, value) for key, value in usual.overrides if key in known)
        first = next((r for r in of_task if r.method == BASELINE), replace(usual, method=BASELINE, overrides=shared))
        for request in (first, *of_task):
            if methods_apply(request, methods, tasks):
                found.setdefault((request.task, request.method, request.data), replace(request, repetition=0))
    return list(found.values())


def methods_apply(request: Request, methods: MethodTable, tasks: TaskTable) -> bool:
    """Whether a request's method applies to its task."""
    return _known(methods)[request.method].applicable(tasks[request.task]) is None


def _known(methods: MethodTable) -> MethodTable:
    """The table with the no-delay network in it."""
    return methods if BASELINE in methods else MethodTable({**find_methods(), **methods})


def resolved(request: Request, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Resolved:
    """A request with its data: a task's own, a user's, or drawn at the shape of an official one; timed natively.

    Raises:
        BenchError: As `config.resolve`.
    """
    task = tasks[request.task]
    own = TaskTable({request.task: task if request.data is not None else with_drawn_inputs(task)})
    need_device(request.device)
    return resolve(replace(request, arithmetic="native"), _known(methods), own, workspace)


def as_requests(
    methods: Sequence[str], tasks: Sequence[str], table: MethodTable, task_table: TaskTable, profile: str, threads: int,
    device: Device = "cpu",
) -> list[Request]:  # fmt: skip
    """A request for every method on every task where it applies."""
    every = [Request(m, t, profile=profile, threads=threads, device=device) for t in tasks for m in methods]
    return [r for r in every if methods_apply(r, table, task_table)]
