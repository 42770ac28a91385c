"""What is timed on a shape: our networks, the published ones, torch's own recurrent networks, and the floor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from delrec.engines.events import EventNetwork
from delrec_bench.latency.timing import finished
from delrec_bench.networks import Network
from torch import Tensor, nn

from benchmarks.latency.floor import products
from benchmarks.latency.published_network import PublishedNetwork
from benchmarks.latency.shapes import Shape, make_inputs, make_network, stream

__all__ = ["CONTENDERS", "MODES", "Contender", "TorchNetwork", "build", "network_of"]

MODES = {"cpu": ("train", "forward", "batch1", "stream"), "cuda": ("train", "forward")}
"""Device -> what is timed there."""

Work = Callable[[], object]


class TorchNetwork(nn.Module):
    """nn.RNN or nn.LSTM of the shape's widths, recurrent in every layer, and a linear readout."""

    def __init__(self, kind: type[nn.RNN] | type[nn.LSTM], shape: Shape) -> None:
        super().__init__()
        widths = (shape.inputs, *shape.config().hidden)
        self.layers = nn.ModuleList(kind(a, b) for a, b in itertools.pairwise(widths))
        self.readout = nn.Linear(widths[-1], shape.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (T, B, classes)."""
        values = inputs
        for layer in self.layers:
            values, _ = layer(values)
        logits: Tensor = self.readout(values)
        return logits

    def scores(self, outputs: Tensor) -> Tensor:
        """Sum over time."""
        return outputs.sum(0)


class Contender:
    """A network on a shape, with what is timed: those of `MODES` that it has.

    train: forward in training mode, cross-entropy, backward, optimiser step (rate 0: each does the same work).
    forward: evaluation without gradient, the shape's batch. batch1: the scores of one whole sample, as deployed.
    stream: the same sample a step at a time, each step's output in hand before the next.
    """

    def __init__(
        self, network: Any, shape: Shape, batch1: Work | None = None, stream_sample: Work | None = None
    ) -> None:
        self.device = shape.device
        self.network = network.to(shape.device)
        self.inputs, self.targets = make_inputs(shape)
        self.optimiser = shape.optimiser(network.parameters(), lr=0.0)
        self._single = {"batch1": batch1 or self.single, "stream": stream_sample}

    def work(self, mode: str) -> Work | None:
        """The function to time; None where there is none."""
        if mode in self._single:
            return self._single[mode]
        return finished({"train": self.train, "forward": self.forward}[mode], self.device)

    def train(self) -> None:
        """One training step."""
        self.network.train()
        self.optimiser.zero_grad()
        self.loss(self.network(self.inputs), self.targets).backward()
        self.optimiser.step()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the scores."""
        return nn.functional.cross_entropy(self.network.scores(outputs), targets)

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Scores of the batch."""
        self.network.eval()
        scores: Tensor = self.network.scores(self.network(self.inputs))
        return scores

    @torch.no_grad()
    def single(self) -> Tensor:
        """Scores of one sample."""
        self.network.eval()
        scores: Tensor = self.network.scores(self.network(self.inputs[:, :1]))
        return scores


class Floor:
    """The matrix products of the axonal network; none for one sample, where products are not what costs."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def work(self, mode: str) -> Work | None:
        """The products of a training step or of a forward pass."""
        if mode not in ("train", "forward"):
            return None
        shape = self.shape
        work = products(shape.config(), shape.steps, shape.batch, train=mode == "train", device=shape.device)
        return finished(work, shape.device)


def network_of(shape: Shape, recurrent: str, sigma: float, engine: str = "auto", **more: Any) -> Network:
    """Our network of a shape, firing at the rate aimed at."""
    return make_network(shape.config(recurrent, sigma, engine, **more), make_inputs(shape)[0])


LONGEST = 60  # steps, of delays that are as initialised: with a bound no step waits for the device to read it


def _ours(shape: Shape, recurrent: str, sigma: float, **more: Any) -> Contender:
    if shape.device == "cuda":
        bound = {} if recurrent in ("none", "plain") else {"max_delay": LONGEST}
        return Contender(network_of(shape, recurrent, sigma, **bound, **more), shape)
    network = network_of(shape, recurrent, sigma, **more)
    events = EventNetwork(network_of(shape, recurrent, sigma, **more).eval())
    sample = make_inputs(shape)[0][:, :1]
    no_grad = torch.no_grad()
    return Contender(network, shape, no_grad(lambda: events.classify(sample)), no_grad(lambda: stream(events, sample)))


def _published(shape: Shape, recurrent: str, sigma: float, **more: Any) -> Contender:
    network = network_of(shape, recurrent, sigma, **more)
    with network.deployed():
        single = PublishedNetwork(network).eval()
    sample = make_inputs(shape)[0][:, :1]

    @torch.no_grad()
    def batch1() -> Tensor:
        return single.scores(single(sample))

    return Contender(PublishedNetwork(network), shape, batch1)


CONTENDERS: dict[str, Callable[[Shape], Contender | Floor]] = {
    "ours, axonal, sigma 10": lambda s: _ours(s, "axonal", 10.0),
    "ours, axonal, sigma 0": lambda s: _ours(s, "axonal", 0.0),
    "ours, synaptic, sigma 10": lambda s: _ours(s, "synaptic", 10.0),
    "ours, plain recurrent": lambda s: _ours(s, "plain", 0.0),
    "ours, no delay": lambda s: _ours(s, "none", 0.0),
    "published, axonal, sigma 10": lambda s: _published(s, "axonal", 10.0),
    "published, axonal, sigma 0": lambda s: _published(s, "axonal", 0.0),
    "published, plain recurrent": lambda s: _published(s, "plain", 0.0),
    "published, no delay": lambda s: _published(s, "none", 0.0),
    "torch nn.RNN": lambda s: Contender(TorchNetwork(nn.RNN, s), s),
    "torch nn.LSTM": lambda s: Contender(TorchNetwork(nn.LSTM, s), s),
    "floor: matrix products alone": Floor,
}
"""Name -> what makes it for a shape. The first is what every ratio of the table refers to."""


def build(name: str, shape: Shape) -> Contender | Floor:
    """Make one contender."""
    return CONTENDERS[name](shape)
