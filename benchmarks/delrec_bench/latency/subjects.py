"""What is timed: a method's network at a run's settings, on one batch of the published size.

    train    a whole training step: forward, loss, backward, optimiser, clamping; learning rates are 0, so that every
             round does the same work
    infer    the batch's scores, as deployed (rounded delays, sigma 0)
    batch1   the scores of one whole sample, by the engine a network is deployed with: by events where it can, on a CPU

On a CUDA device each ends when the device has done it. The no-delay network stands beside it with as many samples, and
its own row is a ratio of equals: it must hold 1.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from delrec import RecurrentDelays, SpikingLayer, flush_denormals
from delrec.engines.events.network import EventNetwork
from torch import Tensor

from delrec_bench.config import Request, Resolved, bound, defaults, resolve
from delrec_bench.environment import need_device
from delrec_bench.latency.drawn import with_drawn_inputs
from delrec_bench.latency.firing import fire, spike_rates
from delrec_bench.latency.timing import finished
from delrec_bench.methods.method import MethodTable
from delrec_bench.networks import Network
from delrec_bench.runs.executors import Planned
from delrec_bench.tasks.task import TaskTable
from delrec_bench.training import Optimisation, build, engines_of, exact
from delrec_bench.workspace import Workspace

BASELINE = "lif"
MODES = {"train": 0.5, "infer": 0.2, "batch1": 0.3}
"""What is timed, and its share of a method's time."""


def events(network: Any) -> EventNetwork | None:
    """The network by events, where that engine runs it (a `Network` of core's own layers); else None."""
    own = type(network) is Network and all(type(b.spiking) in (SpikingLayer, RecurrentDelays) for b in network.blocks)
    if own and network.config.engine in ("auto", "cpu", "events"):
        with suppress(ValueError):  # neurons that it cannot compile, padding from the future
            return EventNetwork(network)
    return None


@dataclass
class Subject:
    """One method on one task's shape, ready to be timed."""

    resolved: Resolved  # the run whose configuration, data and key are meant
    model: Any  # its sigma is that of the first epoch
    deployed: Any  # a copy of it as deployed
    optimisation: Optimisation  # of the model, at learning rate 0
    inputs: Tensor  # the first training samples (T, B, C), again from the start where they are fewer than a batch
    targets: Tensor  # (B,)
    by_events: EventNetwork | None  # `deployed`, where that engine runs it
    rates: list[float]  # spikes per neuron and step of each layer, as deployed

    def work(self, mode: str) -> Callable[[], object]:
        """What is timed in `mode`."""
        work = {"train": self.train_step, "infer": self.infer, "batch1": self.single}[mode]

        def run() -> None:
            with exact(self.resolved.device):
                work()

        return finished(run, self.resolved.device)

    def engine(self, mode: str) -> str:
        """What ran in `mode`, after it has."""
        if mode == "batch1" and self.by_events is not None:
            return "events"
        return engines_of(self.model if mode == "train" else self.deployed)

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
        return self.deployed.classify(self.inputs)

    @torch.no_grad()
    def single(self) -> Tensor:
        """Scores (1, classes) of the batch's first sample."""
        network = self.deployed if self.by_events is None else self.by_events
        return network.classify(self.inputs[:, :1])


def subject(resolved: Resolved, batch: int | None = None) -> Subject:
    """Build the network of a resolved run, bring it to realistic spike rates, and copy it as deployed.

    `batch` is the number of samples, which the run's own settings give otherwise.
    """
    data = resolved.data
    still: dict[str, Any] = {"lr_weights": 0.0, "lr_delays": 0.0, "lr_neuron": None}
    training = replace(resolved.training, **still, schedule_weights="constant", schedule_delays="constant")
    if batch is None:
        batch = training.batch if data.kind == "DRAWN" else min(training.batch, len(data.train))
    indices = torch.arange(batch) % len(data.train)
    inputs = data.train.batch(indices, resolved.device).to(getattr(torch, resolved.dtype))
    targets = data.train.targets[indices].to(resolved.device)
    model = build(resolved)
    with model.deployed():
        fire(model, inputs)
        deployed = copy.deepcopy(model)
    model.begin_epoch(0, training.epochs)
    optimisation = Optimisation(model, training, data.metric, updates=1)
    by_events = events(deployed) if resolved.device == "cpu" else None
    rates = spike_rates(deployed, inputs)
    return Subject(resolved, model, deployed, optimisation, inputs, targets, by_events, rates)


def to_measure(requests: Iterable[Request], methods: MethodTable, tasks: TaskTable) -> list[Request]:
    """What is to be measured of requests: each network once on each task where it applies, the no-delay one first.

    Where a task's requests lack the no-delay network, it is added with the settings of the first of them.
    """
    known = defaults(methods[BASELINE])
    found: dict[tuple[str, str, str | None], Request] = {}
    every = [r.trained() for r in requests if methods[r.method].build is not None]
    for task in dict.fromkeys(r.task for r in every):
        of_task = [r for r in every if r.task == task]
        shared = tuple((key, value) for key, value in of_task[0].overrides if key in known)
        added = replace(of_task[0], method=BASELINE, overrides=shared)
        first = next((r for r in of_task if r.method == BASELINE), added)
        for request in (first, *of_task):
            if methods[request.method].reason(tasks[request.task]) is None:
                found.setdefault((request.task, request.method, request.data), replace(request, repetition=0))
    return list(found.values())


def planned(request: Request, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Planned:
    """Resolve a request, timed natively, on a task's own data, a user's, or data drawn at an official one's shape."""
    need_device(request.device)
    native = replace(request, arithmetic="native")
    return Planned(resolve(native, methods, with_drawn_inputs(tasks), workspace).asked, request.data)


def opened(run: Planned, methods: MethodTable, tasks: TaskTable, workspace: Workspace) -> Resolved:
    """Return what was planned, with its data."""
    return bound(run.asked, run.folder, methods, with_drawn_inputs(tasks), workspace)
