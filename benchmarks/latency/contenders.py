"""What is timed on a shape: our networks, the published ones, and the floor.

The shapes are the published networks, with weights and inputs that give realistic spikes. SHD: T 100, 140-256-256-20,
batch 256, recurrent in layer 2. SSC: T 250, 140-256-256-256-35, batch 128, recurrent in all. PS-MNIST: T 784,
1-64-212-212-10, batch 32 or 256, recurrent in all. Settings are those of the suite's preset `paper-2025`; delays are as
initialised.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import torch
from delrec.engines.events.network import EventNetwork
from delrec_bench.config import profiles
from delrec_bench.latency.firing import fire
from delrec_bench.latency.timing import Work, finished
from delrec_bench.networks import Network, NetworkConfig
from torch import Tensor, nn

from benchmarks.latency.published import PublishedNetwork

LONGEST = 60  # steps, of delays that are as initialised: with a bound no step waits for a card's answer


@dataclass(frozen=True)
class Shape:
    """A network's shape and batch, and where they are: on "cpu" or "cuda"."""

    name: str
    task: str  # whose `paper-2025` preset gives the network
    steps: int
    batch: int
    inputs: int
    classes: int
    density: float  # share of inputs that are not 0
    device: str = "cpu"

    def config(self, recurrent: str, sigma: float, engine: str = "auto") -> NetworkConfig:
        """The configuration of a network of this shape."""
        known = {item.name for item in fields(NetworkConfig)}
        preset = profiles()["paper-2025"][self.task]["network"]
        values = {name: value for name, value in preset.items() if name in known}
        values |= {"recurrent": recurrent, "sigma": sigma, "engine": engine}
        if recurrent in ("none", "plain"):
            values |= {"learn_spread": False, "sigma": 0.0}
        elif self.device == "cuda":
            values["max_delay"] = LONGEST
        return NetworkConfig(inputs=self.inputs, classes=self.classes, **values)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("SHD", "shd", 100, 256, 140, 20, 0.3),
        Shape("SSC", "ssc", 250, 128, 140, 35, 0.15),
        Shape("PS-MNIST", "ps-mnist", 784, 32, 1, 10, 0.19),
        Shape("PS-MNIST-256", "ps-mnist", 784, 256, 1, 10, 0.19),
        Shape("tiny", "shd", 12, 4, 6, 3, 0.3),  # of the tests
    )
}


@cache
def make_inputs(shape: Shape) -> tuple[Tensor, Tensor]:
    """Draw a batch: inputs (T, B, C), counts for spike tasks and grey values for pixels, and targets (B,)."""
    generator = torch.Generator().manual_seed(0)
    size = (shape.steps, shape.batch, shape.inputs)
    present = torch.rand(size, generator=generator) < shape.density
    values = torch.rand(size, generator=generator) if shape.inputs == 1 else torch.ones(size)
    targets = torch.randint(shape.classes, (shape.batch,), generator=generator)
    return (values * present).to(shape.device), targets.to(shape.device)


def make_network(shape: Shape, recurrent: str, sigma: float, engine: str = "auto") -> Network:
    """Build a network of a shape that fires as trained ones do; what two have in common has the same values."""
    torch.manual_seed(0)
    network = Network(shape.config(recurrent, sigma, engine)).to(shape.device)
    fire(network, make_inputs(shape)[0])
    return network.train()


class Contender:
    """A network on a shape, and the functions to time, by mode.

    train: forward in training mode, cross-entropy, backward, optimiser step (rate 0: each does the same work).
    forward: evaluation without gradient, the shape's batch. batch1: the scores of one whole sample, as deployed.
    stream: the same sample a step at a time, each step's output in hand before the next.
    """

    def __init__(self, network: Any, shape: Shape, **more: Work) -> None:
        self.network = network.to(shape.device)
        self.inputs, self.targets = make_inputs(shape)
        self.optimiser = torch.optim.Adam(network.parameters(), lr=0.0)
        works = {"train": self.train, "forward": lambda: self.forward(self.inputs)}
        works["batch1"] = lambda: self.forward(self.inputs[:, :1])
        self.works = {mode: finished(work, shape.device) for mode, work in (works | more).items()}

    def train(self) -> None:
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()

    def loss(self) -> Tensor:
        self.network.train()
        return nn.functional.cross_entropy(self.network.scores(self.network(self.inputs)), self.targets)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        self.network.eval()
        return self.network.scores(self.network(inputs))

    def saved_bytes(self) -> int:
        """Bytes that a training step holds between its passes, parameters, their copies and inputs not counted."""
        known = {t.untyped_storage().data_ptr() for t in (*self.network.parameters(), self.inputs, self.targets)}
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = self.loss()
        assert loss.requires_grad
        return sum(size for place, size in kept.items() if place not in known)


def stream(events: EventNetwork, inputs: Tensor) -> Tensor:
    """Feed (T, 1, C) to a network by events, a step at a time; return the last output (1, classes)."""
    events.reset()
    output = inputs
    for x in inputs:
        output = events.step(x)
    return output


def _ours(shape: Shape, recurrent: str, sigma: float) -> Contender:
    network = make_network(shape, recurrent, sigma)
    if shape.device == "cuda":
        return Contender(network, shape)
    events, sample, no_grad = EventNetwork(network.eval()), make_inputs(shape)[0][:, :1], torch.no_grad()
    works = {"batch1": lambda: events.classify(sample), "stream": lambda: stream(events, sample)}
    return Contender(network, shape, **{mode: no_grad(work) for mode, work in works.items()})


def _published(shape: Shape, recurrent: str, sigma: float) -> Contender:
    network = make_network(shape, recurrent, sigma)
    whole = PublishedNetwork(network)
    with network.deployed():
        single = Contender(PublishedNetwork(network), shape)
    return Contender(whole, shape, batch1=single.works["batch1"])


CONTENDERS: dict[str, Callable[[Shape], Contender]] = {
    "ours, axonal, sigma 10": lambda s: _ours(s, "axonal", 10.0),
    "ours, axonal, sigma 0": lambda s: _ours(s, "axonal", 0.0),
    "ours, synaptic, sigma 10": lambda s: _ours(s, "synaptic", 10.0),
    "ours, plain recurrent": lambda s: _ours(s, "plain", 0.0),
    "ours, no delay": lambda s: _ours(s, "none", 0.0),
    "published, axonal, sigma 10": lambda s: _published(s, "axonal", 10.0),
    "published, axonal, sigma 0": lambda s: _published(s, "axonal", 0.0),
    "published, plain recurrent": lambda s: _published(s, "plain", 0.0),
    "published, no delay": lambda s: _published(s, "none", 0.0),
}
"""Name -> what makes it for a shape. The first is what most ratios of the table refer to."""


def floor(shape: Shape, train: bool) -> Work:
    """The matrix products of the axonal network and nothing else: of a forward pass, or of forward and backward.

    Feedforward connections are one product over all steps; recurrent ones a product a step, since a step needs the one
    before. Backward: the gradient of the input (not of the network's own input) in the same pieces, and the gradient of
    each weight as one product over all steps. Outputs are allocated beforehand.
    """
    config, steps, batch = shape.config("axonal", 10.0), shape.steps, shape.batch
    generator = torch.Generator().manual_seed(0)
    products: list[tuple[Tensor, Tensor, Tensor]] = []

    def product(a: Tensor, b: Tensor) -> None:
        products.append((a, b, torch.empty(a.shape[0], b.shape[1], device=shape.device)))

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(shape.device)

    for layer, (inputs, outputs) in enumerate(itertools.pairwise((config.inputs, *config.hidden, config.classes))):
        x, y, weight = random(steps * batch, inputs), random(steps * batch, outputs), random(outputs, inputs)
        product(x, weight.T)
        if train:
            product(y.T, x)
        if train and layer > 0:
            product(y, weight)
        if layer < len(config.hidden) and config.is_recurrent(layer):
            spikes, current = random(steps, batch, outputs), random(steps, batch, outputs)
            square = random(outputs, outputs)
            for t in range(steps):
                product(spikes[t], square.T)
            if train:
                for t in reversed(range(steps)):
                    product(current[t], square)
                product(current.flatten(0, 1).T, spikes.flatten(0, 1))

    def run() -> None:
        for a, b, out in products:
            torch.mm(a, b, out=out)

    return finished(run, shape.device)


def on(name: str, device: str) -> Shape:
    """The shape of that name on a device; on a card every batch is of 256, as the papers' authors measured there."""
    shape = SHAPES[name]
    return replace(shape, device=device, batch=256 if device == "cuda" else shape.batch)


def layer_work(layer: Callable[[Tensor], Tensor], x: Tensor, mode: str) -> Work:
    """A training step of one layer on (T, B, N), without an optimiser, or its forward pass."""
    parameters = list(layer.parameters()) if isinstance(layer, nn.Module) else []

    def train() -> None:
        for p in (*parameters, x):
            p.grad = None
        layer(x.requires_grad_()).sum().backward()

    return train if mode == "train" else torch.no_grad()(lambda: layer(x))
