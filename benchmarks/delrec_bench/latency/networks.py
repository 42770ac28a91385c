"""What is timed: every method's network on a task's shape.

Three things are timed, on one batch of the task's training samples:
    train    a whole training step: forward, loss, backward, optimiser, clamping; learning rates are 0, so that every
             round does the same work
    infer    the batch's scores, as deployed (rounded delays, sigma 0)
    batch1   streaming: one sample, one step of input after the other, as deployed
The no-delay network is timed twice in every round, and its row is the ratio of the two: it must hold 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from delrec import RecurrentDelays, SpikingLayer
from delrec.networks import Network
from torch import Tensor

from delrec_bench.config import Request, Resolved, defaults, resolve
from delrec_bench.methods.base import Method, MethodTable, find_methods
from delrec_bench.tasks.base import Task, TaskTable
from delrec_bench.training import Optimisation, build
from delrec_bench.workspace import Workspace

BASELINE = "lif"
MODES: Mapping[str, float] = {"train": 0.5, "infer": 0.2, "batch1": 0.3}
"""What is timed, and its share of a task's budget."""


@dataclass
class Subject:
    """One method on one task's shape, ready to be timed.

    Attributes:
        resolved: The run whose configuration, data and key are meant.
        model: The network, its sigma that of the first epoch, and `deployed` a second one as deployed.
        inputs, targets: A batch, (T, B, C) and (B,).
        settle: Holds `deployed` in its state; closing it restores the delays.
    """

    resolved: Resolved
    model: Any
    deployed: Any
    optimisation: Optimisation
    inputs: Tensor
    targets: Tensor
    settle: ExitStack

    @property
    def method(self) -> Method:
        """The method."""
        return self.resolved.method

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


def subject(resolved: Resolved) -> Subject:
    """Build the network of a resolved run, twice, and take the first batch of its training samples."""
    data = resolved.data
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
    model, deployed = build(resolved), build(resolved)
    model.begin_epoch(0, training.epochs)
    settle = ExitStack()
    settle.enter_context(deployed.deployed())
    return Subject(
        resolved=resolved,
        model=model,
        deployed=deployed,
        optimisation=Optimisation(model, training, data.metric),
        inputs=data.train.batch(indices).to(dtype),
        targets=data.train.targets[indices],
        settle=settle,
    )


def resolved_runs(
    methods: Iterable[Method],
    task: Task,
    workspace: Workspace,
    profile: str,
    threads: int,
    requests: Iterable[Request] = (),
) -> list[Resolved]:
    """Resolve repetition 0 of every method that applies to the task and has a network, the baseline first.

    A study's `requests` say with which data and settings; a baseline outside the study takes those of its first.
    """
    asked = {request.method: request for request in requests if request.task == task.name}
    usual = next(iter(asked.values()), Request(BASELINE, task.name, profile=profile))
    own = {m.name: m for m in methods}
    table = MethodTable({**find_methods(), **own})  # the baseline, and the method whose network is a budget, are there
    # One load serves all methods whose options are equal.
    tasks = TaskTable({task.name: replace(task, load=cache(task.load))})
    names = [BASELINE, *(name for name in own if name != BASELINE)]
    found = []
    for name in names:
        if table[name].build is None or table[name].applicable(task) is not None:
            continue
        known = defaults(table[name])
        shared = tuple((key, value) for key, value in usual.overrides if key in known)
        request = asked.get(name, replace(usual, method=name, overrides=shared))
        found.append(resolve(replace(request, repetition=0, threads=threads), table, tasks, workspace))
    return found


def subjects(
    methods: Iterable[Method], task: Task, workspace: Workspace, profile: str = "quick", threads: int = 1
) -> list[Subject]:
    """Build every method's `Subject` on a task; the no-delay network first.

    Raises:
        BenchError: The profile says nothing about the task, or its data is wrong.
    """
    return [subject(p) for p in resolved_runs(methods, task, workspace, profile, threads)]
