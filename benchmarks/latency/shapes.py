"""The shapes that engines are compared on: the published networks, with weights and inputs that give realistic spikes.

SHD: T 100, 140-256-256-20, batch 256, recurrent in layer 2. SSC: T 250, 140-256-256-256-35, batch 128, recurrent in
all. PS-MNIST: T 784, 1-64-212-212-10, batch 32 or 256, recurrent in all. Settings are those of the suite's preset
`paper-2025`; delays are as initialised.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from delrec_bench.config import profiles
from delrec_bench.latency.firing import fire, spike_rates
from delrec_bench.networks import Network, NetworkConfig
from torch import Tensor

__all__ = ["SHAPES", "Shape", "make_inputs", "make_network", "on", "spike_rates", "stream"]


@dataclass(frozen=True)
class Shape:
    """A network's shape and batch.

    Attributes:
        name: As in tables.
        task: Task whose `paper-2025` preset gives the network.
        steps, batch, inputs, classes: T, B, C and classes.
        density: Share of inputs that are not 0.
        device: Where network and inputs are: "cpu" or "cuda".
    """

    name: str
    task: str
    steps: int
    batch: int
    inputs: int
    classes: int
    density: float
    device: str = "cpu"

    def config(
        self, recurrent: str = "axonal", sigma: float = 10.0, engine: str = "auto", **more: Any
    ) -> NetworkConfig:
        """The configuration of a network of this shape."""
        network = profiles()["paper-2025"][self.task]["network"]
        known = {item.name for item in fields(NetworkConfig)}
        values = {name: value for name, value in network.items() if name in known}
        values |= {"recurrent": recurrent, "sigma": sigma, "engine": engine}
        if recurrent in ("none", "plain"):
            values |= {"learn_spread": False, "sigma": 0.0}
        return NetworkConfig(inputs=self.inputs, classes=self.classes, **(values | more))

    @property
    def optimiser(self) -> type[torch.optim.Optimizer]:
        """Adam or AdamW, as published."""
        training = profiles()["paper-2025"][self.task]["training"]
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training["optimiser"]]


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


def make_inputs(shape: Shape, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw a batch: inputs (T, B, C), counts for spike tasks and grey values for pixels, and targets (B,)."""
    generator = torch.Generator().manual_seed(seed)
    size = (shape.steps, shape.batch, shape.inputs)
    present = torch.rand(size, generator=generator) < shape.density
    values = torch.rand(size, generator=generator) if shape.inputs == 1 else torch.ones(size)
    targets = torch.randint(shape.classes, (shape.batch,), generator=generator)
    return (values * present).to(shape.device), targets.to(shape.device)


@torch.no_grad()
def make_network(config: NetworkConfig, inputs: Tensor, seed: int = 0) -> Network:
    """Build a network whose every layer fires as trained ones do (`firing.fire`), whatever its recurrence.

    Networks of one seed share what they have in common.
    """
    torch.manual_seed(seed)
    network = Network(config).to(inputs.device)
    fire(network, inputs)
    return network.train()


def on(name: str, device: str) -> Shape:
    """The shape of that name on a device; on a card every batch is of 256, as the papers' authors measured there."""
    shape = SHAPES[name]
    return replace(shape, device=device, batch=256 if device == "cuda" else shape.batch)


def smaller(shape: Shape, steps: int, batch: int) -> Shape:
    """The same network on fewer steps and rows, for the correctness gate."""
    return replace(shape, steps=min(steps, shape.steps), batch=min(batch, shape.batch))


def stream(network: Any, inputs: Tensor) -> Tensor:
    """Feed (T, 1, C) to a network, or to one by events, a step at a time; return the last output (1, classes)."""
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
