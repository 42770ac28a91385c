"""A finished run looked into: its trained network with one sample going through, with its delays and without."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from delrec import FeedforwardDelays, RecurrentDelays
from delrec.spiking import SpikingLayer

from delrec_bench.config import resolve
from delrec_bench.data.samples import Cast
from delrec_bench.errors import BenchError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record
from delrec_bench.runs.again import request_of
from delrec_bench.runs.models import network_of
from delrec_bench.tasks.base import TaskTable
from delrec_bench.training import build
from delrec_bench.training.delays import summary
from delrec_bench.workspace import Workspace

KEPT = 600  # delays of a layer that are looked at one by one


@dataclass(frozen=True)
class Replay:
    """What a run's network does with one sample that training did not see.

    Attributes:
        sample: Which one, in words.
        inputs: (T, channels) of it.
        layers: Names of the spiking layers, in order.
        spikes: (T', neurons) of each layer, as deployed.
        without: The same with all delays 0, nothing else changed; None of a network whose delays are not core's.
        delays: As `Record.delays`, with more delays one by one.
    """

    sample: str
    inputs: np.ndarray
    layers: tuple[str, ...]
    spikes: tuple[np.ndarray, ...]
    without: tuple[np.ndarray, ...] | None
    delays: list[dict[str, Any]]


def replay(
    record: Record, methods: MethodTable, tasks: TaskTable, workspace: Workspace, data: str | None = None
) -> Replay:
    """Look into a finished run of this workspace; the test set stays closed.

    Args:
        record: A run whose checkpoint lies in `workspace.runs`.
        methods, tasks: The tables.
        workspace: Where.
        data: Folder of a user's own files, which a record does not name.

    Raises:
        BenchError: The checkpoint or the data are not there, or are not those of the record.
    """
    checkpoint = workspace.runs / record.key / "checkpoint.pt"
    if not checkpoint.is_file():
        raise BenchError(f"{record} has no checkpoint here ({checkpoint}); make the run again: {record.command}")
    resolved = resolve(request_of(record, tasks, data), methods, tasks, workspace)
    if resolved.data.digest != record.data["digest"]:
        raise BenchError(
            f"{record} was made on data {record.data['digest'][:12]}, here are {resolved.data.digest[:12]}"
        )
    model = network_of(record, checkpoint, methods)
    began = {name: delay.cpu() for name, delay in build(resolved).delays().items()}
    part, samples = ("validation", resolved.data.valid) if resolved.data.valid else ("training", resolved.data.train)
    x = Cast(samples, resolved.dtype).batch(torch.tensor([0]))
    layers, spikes = _spikes(model, x)
    silent = without_delays(model)
    return Replay(
        sample=f"the first {part} sample",
        inputs=x[:, 0].numpy(),
        layers=layers,
        spikes=spikes,
        without=None if silent is None else _spikes(silent, x)[1],
        delays=summary(began, model, KEPT),
    )


def without_delays(model: Any) -> Any | None:
    """A copy of a network with every delay 0: a spike arrives at the next step. None where there is none of core's."""
    model = copy.deepcopy(model)
    found = [m for m in model.modules() if isinstance(m, FeedforwardDelays | RecurrentDelays)]
    found = [m for m in found if isinstance(m, FeedforwardDelays) or m.delay is not None]
    with torch.no_grad():
        for module in found:
            if isinstance(module, RecurrentDelays):
                module.delay.zero_()
            else:
                module.position.fill_(module.left_padding - module.window // 2)
    return model if found else None


@torch.no_grad()
def _spikes(model: Any, x: torch.Tensor) -> tuple[tuple[str, ...], tuple[np.ndarray, ...]]:
    """The layers that spiked, and their spikes (T', N) of the one sample in x (T, 1, channels)."""
    seen: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, spikes: seen.update({name: spikes[:, 0].numpy()})

    hooks = [m.register_forward_hook(keep(n)) for n, m in model.named_modules() if isinstance(m, SpikingLayer)]
    try:
        with model.deployed():
            model.eval().classify(x)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(seen), tuple(seen.values())
